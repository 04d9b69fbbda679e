"""Two turns of Claude Code, which lists files; its session is the session."""

import asyncio
from pathlib import Path

from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, ResultMessage

import pandaprobe_otel as pandaprobe
from pandaprobe_otel.integrations.claude_agent_sdk import ClaudeAgentSDKAdapter

ClaudeAgentSDKAdapter().instrument()


async def main() -> None:
    # Without `cli_path`, Claude Code itself, which needs an account.
    options = ClaudeAgentOptions(cli_path=Path(__file__).with_name("claude_stand_in.py"))
    async with ClaudeSDKClient(options) as client:
        for question in ("Which files are in this folder?", "Thank you."):
            await client.query(question)
            async for message in client.receive_response():
                if isinstance(message, ResultMessage):
                    print(f"User: {question}\nBot:  {message.result}\n")


asyncio.run(main())
pandaprobe.shutdown()
