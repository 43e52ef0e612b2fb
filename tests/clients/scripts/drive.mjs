// What both versions of the TypeScript SDK are asked to do with a connected client.
export async function drive(client, asked) {
  const { tools } = await client.listTools();
  const results = [];
  for (const [name, args] of asked.calls ?? []) {
    try {
      results.push(await client.callTool({ name, arguments: args }));
    } catch (error) {
      results.push({ thrown: { code: error.code ?? null, message: error.message } });
    }
  }
  return {
    server: client.getServerVersion() ?? null,
    capabilities: client.getServerCapabilities() ?? null,
    instructions: client.getInstructions() ?? null,
    tools,
    results,
  };
}
