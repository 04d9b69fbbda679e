"""Three questions, three turns of one session: the model is asked through LiteLLM."""

import litellm

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.wrappers import wrap_litellm

wrap_litellm()
conversation = [{"role": "system", "content": "You are a concise geography assistant."}]

with pandaprobe.session() as session_id:
    for question in (
        "What is the capital of France?",
        "What about Germany?",
        "Which of those two cities has more people?",
    ):
        conversation.append({"role": "user", "content": question})
        answer = litellm.completion(model="openai/gpt-4o", max_tokens=200, messages=conversation)
        reply = answer.choices[0].message.content
        conversation.append({"role": "assistant", "content": reply})
        print(f"User: {question}\nBot:  {reply}\n")

pandaprobe.flush()
print(f"Session: {session_id}")
