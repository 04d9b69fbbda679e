"""A program that has OpenTelemetry already; the session is what it says of PandaProbe."""

import openai
from opentelemetry import trace

import pandaprobe_otel as pandaprobe

tracer = trace.get_tracer("shop")
question = {"role": "user", "content": "What is the capital of France?"}

with pandaprobe.session("conversation-123"), tracer.start_as_current_span("answer a customer"):
    answer = openai.OpenAI().chat.completions.create(model="gpt-5.4-nano", messages=[question])
    print(answer.choices[0].message.content)
