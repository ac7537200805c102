// Somebody else's client (@modelcontextprotocol/client) against our server: lists, calls, reads; prints what it got.
// node client.mjs PACKAGES REVISION http URL | node client.mjs PACKAGES REVISION stdio COMMAND ARGUMENT...
import { pathToFileURL } from "node:url";

const [packages, revision, transport, ...where] = process.argv.slice(2);
const from = (file) => import(pathToFileURL(`${packages}/node_modules/@modelcontextprotocol/client/dist/${file}`));
const { Client, StreamableHTTPClientTransport } = await from("index.mjs");
const { StdioClientTransport } = await from("stdio.mjs");

const mode = revision === "2026-07-28" ? { pin: revision } : "legacy";
const client = new Client({ name: "another", version: "1" }, { versionNegotiation: { mode } });
await client.connect(
  transport === "http"
    ? new StreamableHTTPClientTransport(new URL(where[0]))
    : new StdioClientTransport({ command: where[0], args: where.slice(1) }),
);
const { tools } = await client.listTools();
const called = await client.callTool({ name: "get_releases", arguments: { release: "guestbook" } });
const refused = await client.callTool({ name: "get_releases", arguments: { limit: true } });
const read = await client.readResource({ uri: "conclave://release/guestbook" });
const prompt = await client.getPrompt({ name: "triage", arguments: {} });
console.log(
  JSON.stringify({
    tools: tools.map((tool) => tool.name),
    releases: called.structuredContent.items,
    refused: refused.isError && refused.content[0].text,
    read: read.contents[0].text,
    prompt: prompt.messages.length,
  }),
);
await client.close();
