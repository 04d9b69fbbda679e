import json

import pytest


def llm(**attributes):
    return {
        "gen_ai.operation.name": "chat",
        **{key.replace("__", "."): value for key, value in attributes.items()},
    }


QUESTION = {"role": "user", "parts": [{"type": "text", "content": "Paris?"}]}
ANSWER = {"role": "assistant", "parts": [{"type": "text", "content": "Yes."}], "finish_reason": "stop"}


@pytest.mark.parametrize("write", [json.dumps, lambda messages: messages], ids=["JSON text", "structured"])
def test_model_call_carries_the_whole_conversation(span_of, write):
    history = [QUESTION, ANSWER, {"role": "user", "parts": [{"type": "text", "content": "Sure?"}]}]
    span = span_of(llm(gen_ai__input__messages=write(history), gen_ai__output__messages=write([ANSWER])))
    assert span["input"] == {
        "messages": [
            {"role": "user", "content": "Paris?"},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": "Sure?"},
        ]
    }
    assert span["output"] == {"messages": [{"role": "assistant", "content": "Yes."}]}


def test_system_instructions_come_first(span_of):
    instructions = json.dumps([{"type": "text", "content": "Be brief."}])
    span = span_of(
        llm(gen_ai__system_instructions=instructions, gen_ai__input__messages=json.dumps([QUESTION]))
    )
    assert span["input"]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert len(span["input"]["messages"]) == 2


def test_tool_calls_and_their_responses_become_chat_messages(span_of):
    messages = [
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": "1", "name": "weather", "arguments": {"city": "Paris"}}],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": {"degrees": 20}}]},
        {
            "role": "user",
            "parts": [
                {"type": "tool_call_response", "id": "2", "response": "none"},
                {"type": "text", "content": "Go on"},
            ],
        },
    ]
    assert span_of(llm(gen_ai__input__messages=json.dumps(messages)))["input"]["messages"] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Paris"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": '{"degrees": 20}'},
        {"role": "tool", "tool_call_id": "2", "content": "none"},
        {"role": "user", "content": "Go on"},
    ]


def test_several_parts_become_a_content_list(span_of):
    parts = [
        {"type": "text", "content": "What is this?"},
        {"type": "uri", "modality": "image", "uri": "https://example.com/cat.png"},
        {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "AAAA"},
        {"type": "file", "modality": "document", "file_id": "f-1"},
    ]
    messages = span_of(llm(gen_ai__input__messages=[{"role": "user", "parts": parts}]))["input"]["messages"]
    assert messages == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "file", "modality": "document", "file_id": "f-1"},
            ],
        }
    ]


def test_reasoning_is_summed_up_in_metadata_and_kept_out_of_the_content(spans):
    parts = [
        {"type": "reasoning", "content": "First."},
        {"type": "reasoning", "content": "Then."},
        {"type": "text", "content": "Yes."},
    ]
    spans.llm(
        "chat", spans.entry("turn"), {"gen_ai.output.messages": [{"role": "assistant", "parts": parts}]}
    )
    trace = spans.trace()
    (span,) = trace["spans"]
    assert span["metadata"]["reasoning_summary"] == "First.\n\nThen."
    assert span["output"]["messages"][0]["content"] == "Yes."
    assert trace["output"] == {"messages": [{"role": "assistant", "content": "Yes."}]}


def test_chat_messages_stay_as_they_are(span_of):
    messages = [{"role": "user", "content": "Paris?"}, {"role": "tool", "tool_call_id": "1", "content": "x"}]
    assert span_of(llm(gen_ai__input__messages=messages))["input"] == {"messages": messages}


def test_pandaprobe_input_wins_and_keeps_its_other_fields(span_of):
    given = {"messages": [QUESTION], "temperature": 1}
    span = span_of(llm(pandaprobe__input=json.dumps(given), gen_ai__input__messages=[ANSWER]))
    assert span["input"] == {"messages": [{"role": "user", "content": "Paris?"}], "temperature": 1}


def test_openllmetry_messages_arrive(span_of):
    span = span_of(
        {
            "gen_ai.system": "openai",
            "llm.request.type": "chat",
            "gen_ai.prompt.0.role": "system",
            "gen_ai.prompt.0.content": "Be brief.",
            "gen_ai.prompt.1.content": '[{"type": "text", "text": "Paris?"}]',
            "gen_ai.prompt.10.role": "assistant",
            "gen_ai.prompt.10.tool_calls.0.id": "1",
            "gen_ai.prompt.10.tool_calls.0.name": "weather",
            "gen_ai.prompt.10.tool_calls.0.arguments": "{}",
            "gen_ai.prompt.11.role": "tool",
            "gen_ai.prompt.11.tool_call_id": "1",
            "gen_ai.prompt.11.content": "20",
            "gen_ai.completion.0.content": "Yes.",
            "gen_ai.completion.0.finish_reason": "stop",
        }
    )
    assert span["kind"] == "LLM"
    assert span["input"]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Paris?"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "content": "20", "tool_call_id": "1"},
    ]
    assert span["output"] == {"messages": [{"role": "assistant", "content": "Yes."}]}
    assert not [key for key in span["metadata"] if key.startswith(("gen_ai.prompt", "gen_ai.completion"))]


def test_openinference_messages_arrive(span_of):
    span = span_of(
        {
            "openinference.span.kind": "LLM",
            "input.value": '{"messages": []}',
            "input.mime_type": "application/json",
            "llm.input_messages.0.message.role": "user",
            "llm.input_messages.0.message.contents.0.message_content.type": "text",
            "llm.input_messages.0.message.contents.0.message_content.text": "What is this?",
            "llm.input_messages.0.message.contents.1.message_content.type": "image",
            "llm.input_messages.0.message.contents.1.message_content.image.image.url": "https://example.com/cat.png",
            "llm.output_messages.0.message.role": "assistant",
            "llm.output_messages.0.message.tool_calls.0.tool_call.id": "1",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "look",
            "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"at": "cat"}',
            "output.value": "look",
        }
    )
    assert span["input"]["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
            ],
        }
    ]
    assert span["output"]["messages"] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at": "cat"}'}}
            ],
        }
    ]
    assert not [key for key in span["metadata"] if key.startswith(("llm.", "input.", "output."))]


def test_plain_values_of_other_conventions_arrive(span_of):
    chain = span_of(
        {
            "openinference.span.kind": "CHAIN",
            "input.value": '{"q": 1}',
            "input.mime_type": "application/json",
            "output.value": "42",
        }
    )
    assert (chain["input"], chain["output"]) == ({"q": 1}, "42")
    task = span_of({"traceloop.span.kind": "task", "traceloop.entity.input": '{"q": 1}'})
    assert (task["kind"], task["input"]) == ("CHAIN", {"q": 1})


def test_tool_span_carries_arguments_and_result(span_of):
    span = span_of(
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.call.arguments": '{"city": "Paris"}',
            "gen_ai.tool.call.result": "20",
        }
    )
    assert (span["kind"], span["input"], span["output"]) == ("TOOL", {"city": "Paris"}, "20")


def test_arguments_of_a_tool_are_not_taken_for_messages(span_of):
    arguments = {"role": "user", "content": "x"}
    span = span_of({"pandaprobe.span.kind": "TOOL", "pandaprobe.input": json.dumps(arguments)})
    assert span["input"] == arguments


def test_cut_json_is_kept_as_text(span_of):
    for key in ("pandaprobe.input", "gen_ai.input.messages"):
        assert span_of(llm() | {key: '[{"role": "us'})["input"] == '[{"role": "us'


def test_entry_has_the_last_message_of_its_own_input_and_output(spans):
    messages = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]
    spans.entry(
        "turn", attributes={f"pandaprobe.{name}": json.dumps(messages) for name in ("input", "output")}
    )
    trace = spans.trace()
    assert trace["input"] == {"messages": [messages[0]]}
    assert trace["output"] == {"messages": [messages[1]]}


def test_entry_without_messages_keeps_its_json(spans):
    spans.entry("turn", attributes={"pandaprobe.input": '{"query": "x"}', "pandaprobe.output": '"done"'})
    trace = spans.trace()
    assert (trace["input"], trace["output"]) == ({"query": "x"}, "done")


def test_turn_without_content_has_that_of_its_first_and_last_model_call(spans):
    server = spans.add("POST /chat", attributes={"session.id": "c-1"})
    for question, answer in [("1", "2"), ("3", "4")]:
        spans.llm(
            "chat",
            server,
            {
                "gen_ai.input.messages": [
                    {"role": "system", "content": "s"},
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": "thinking"},
                ],
                "gen_ai.output.messages": [{"role": "assistant", "content": answer}],
            },
        )
    trace = spans.trace()
    assert trace["input"] == {"messages": [{"role": "user", "content": "1"}]}
    assert trace["output"] == {"messages": [{"role": "assistant", "content": "4"}]}
