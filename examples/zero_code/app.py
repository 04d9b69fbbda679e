"""A chat of three turns; not a word about telemetry in it."""

import openai

client = openai.OpenAI()
conversation: list[dict[str, str]] = []

for question in (
    "What is the capital of France?",
    "What about Germany?",
    "Which of those two cities has more people?",
):
    conversation.append({"role": "user", "content": question})
    answer = client.chat.completions.create(model="gpt-5.4-nano", messages=conversation)
    reply = answer.choices[0].message.content
    conversation.append({"role": "assistant", "content": reply})
    print(f"User: {question}\nBot:  {reply}\n")
