"""Three questions, three turns of one session: the model is asked through Bedrock."""

import boto3

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.wrappers import wrap_bedrock

client = wrap_bedrock(boto3.client("bedrock-runtime"))
conversation = []

with pandaprobe.session() as session_id:
    for question in (
        "What is the capital of France?",
        "What about Germany?",
        "Which of those two cities has more people?",
    ):
        conversation.append({"role": "user", "content": [{"text": question}]})
        answer = client.converse(
            modelId="us.anthropic.claude-opus-4-8-v1:0",
            system=[{"text": "You are a concise geography assistant."}],
            messages=conversation,
        )
        message = answer["output"]["message"]
        conversation.append(message)
        print(f"User: {question}\nBot:  {message['content'][0]['text']}\n")

pandaprobe.flush()
print(f"Session: {session_id}")
