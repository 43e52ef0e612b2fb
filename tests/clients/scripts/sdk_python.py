"""Drives a server through the Python SDK. Takes one JSON argument: {url}, {mode: "auto" | "legacy" | revision} and
{calls: [[tool, arguments], ...]}. Prints what came back as JSON."""

import asyncio
import json
import sys

from mcp import Client


async def main(asked):
    async with Client(asked["url"], mode=asked.get("mode", "auto"), read_timeout_seconds=30) as client:
        tools = await client.list_tools()
        results = [await client.call_tool(name, arguments) for name, arguments in asked.get("calls", [])]
        plain = lambda model: model and model.model_dump(mode="json", by_alias=True, exclude_none=True)
        print(
            json.dumps(
                {
                    "protocol": client.protocol_version,
                    "server": plain(client.server_info),
                    "tools": plain(tools)["tools"],
                    "results": [plain(result) for result in results],
                }
            )
        )


asyncio.run(main(json.loads(sys.argv[1])))
