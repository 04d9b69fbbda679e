"""Three questions, three turns of one session: the model is asked through anthropic's client."""

import anthropic

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.wrappers import wrap_anthropic

client = wrap_anthropic(anthropic.Anthropic())
conversation = []

with pandaprobe.session() as session_id:
    for question in (
        "What is the capital of France?",
        "What about Germany?",
        "Which of those two cities has more people?",
    ):
        conversation.append({"role": "user", "content": question})
        answer = client.messages.create(
            model="claude-opus-4-8",
            max_tokens=200,
            system="You are a concise geography assistant.",
            messages=conversation,
        )
        reply = answer.content[0].text
        conversation.append({"role": "assistant", "content": reply})
        print(f"User: {question}\nBot:  {reply}\n")

pandaprobe.flush()
print(f"Session: {session_id}")
