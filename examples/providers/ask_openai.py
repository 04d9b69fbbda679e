"""Three questions, three turns of one session: the model is asked through openai's client."""

import openai

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.wrappers import wrap_openai

client = wrap_openai(openai.OpenAI())
conversation = [{"role": "system", "content": "You are a concise geography assistant."}]

with pandaprobe.session() as session_id:
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

pandaprobe.flush()
print(f"Session: {session_id}")
