"""Three questions, three turns of one session: the model is asked in a chat of google-genai."""

from google import genai

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.wrappers import wrap_gemini

client = wrap_gemini(genai.Client())
chat = client.chats.create(
    model="gemini-2.5-flash",
    config={"system_instruction": "You are a concise geography assistant.", "max_output_tokens": 200},
)

with pandaprobe.session() as session_id:
    for question in (
        "What is the capital of France?",
        "What about Germany?",
        "Which of those two cities has more people?",
    ):
        print(f"User: {question}\nBot:  {chat.send_message(question).text}\n")

pandaprobe.flush()
print(f"Session: {session_id}")
