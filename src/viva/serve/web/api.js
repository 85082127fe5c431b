// The server, asked by OpenAI's protocol.

import { events } from "./sse.js";

/** Why there is no answer, or no whole one: `kind` is a key of words.js. */
export class Trouble extends Error {
  constructor(kind, detail = "", retryAfter = 0) {
    super(detail || kind);
    this.kind = kind;
    this.detail = detail.replace(/\.$/, "");
    this.retryAfter = retryAfter; // seconds
  }
}

/** The models that one can talk with: those that read a context. */
export async function models(key) {
  const answer = await ask("v1/models", key);
  const told = await answer.json().catch(because("unreachable")); // something else answers in its place
  return told.data.filter((model) => model.max_model_len);
}

/** The events of an answer, as it is written. */
export async function* chat(body, key, signal) {
  const told = { ...body, stream: true, stream_options: { include_usage: true } };
  const answer = await ask("v1/chat/completions", key, { method: "POST", body: JSON.stringify(told), signal });
  try {
    for await (const data of events(answer.body)) {
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new Trouble("failed", event.error.message);
      yield event;
    }
  } catch (error) {
    because("lost")(error);
  }
  throw new Trouble("lost");
}

async function ask(path, key, options = {}) {
  const headers = { "Content-Type": "application/json", ...(key && { Authorization: `Bearer ${key}` }) };
  const answer = await fetch(path, { ...options, headers }).catch(because("unreachable"));
  if (!answer.ok) throw await troubleOf(answer);
  return answer;
}

/** Throws a trouble of this kind in the place of what fetch and JSON throw; all else stays as it is. */
function because(kind) {
  return (error) => {
    throw error instanceof TypeError || error instanceof SyntaxError ? new Trouble(kind) : error;
  };
}

async function troubleOf(answer) {
  const { message, code } = await answer.json().then((told) => told.error, () => ({}));
  const detail = message ?? `HTTP ${answer.status}`; // of a proxy, which does not speak the protocol
  const retryAfter = Number(answer.headers.get("Retry-After")) || 0;
  if (answer.status === 401) return new Trouble("locked");
  if (answer.status === 429) return new Trouble("busy", detail, retryAfter);
  if (code === "context_length_exceeded") return new Trouble("long", detail);
  return new Trouble(answer.status < 500 ? "refused" : "failed", detail, retryAfter);
}
