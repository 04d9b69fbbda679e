"""Three questions, three turns of one session: the model is asked through Mistral's client."""

import os

try:
    from mistralai.client import Mistral
except ImportError:  # Version 1 has it here.
    from mistralai import Mistral

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.wrappers import wrap_mistral

client = wrap_mistral(
    Mistral(api_key=os.environ["MISTRAL_API_KEY"], server_url=os.environ.get("MISTRAL_SERVER_URL"))
)
conversation = [{"role": "system", "content": "You are a concise geography assistant."}]

with pandaprobe.session() as session_id:
    for question in (
        "What is the capital of France?",
        "What about Germany?",
        "Which of those two cities has more people?",
    ):
        conversation.append({"role": "user", "content": question})
        answer = client.chat.complete(model="mistral-small-latest", max_tokens=200, messages=conversation)
        reply = answer.choices[0].message.content
        conversation.append({"role": "assistant", "content": reply})
        print(f"User: {question}\nBot:  {reply}\n")

pandaprobe.flush()
print(f"Session: {session_id}")
