// Conversations, kept in this browser, each under a key of its own, so that two tabs do not write over one another.

import { forget, keep, keys, recall } from "./kept.js";

const PREFIX = "viva.talk.";

/** A new conversation: {id, changed, system, messages: [{role, content, ...}]}; times in milliseconds. */
export function begin(system = "") {
  return { id: crypto.randomUUID?.() ?? String(Math.random()).slice(2), changed: Date.now(), system, messages: [] };
}

/** All that are kept, newest first, and how many cannot be read. */
export function all() {
  const read = keys(PREFIX).map((key) => recall(key));
  const talks = read.filter(isTalk).sort((one, other) => other.changed - one.changed);
  return { talks, broken: read.length - talks.length };
}

/** Keep a conversation; false where the browser has no room. */
export function save(talk) {
  return keep(PREFIX + talk.id, talk);
}

/** Delete a conversation. */
export function remove(talk) {
  forget(PREFIX + talk.id);
}

/** The id of the conversation that another tab has changed, if an event of the storage tells of one. */
export function changed({ key }) {
  return key?.startsWith(PREFIX) ? key.slice(PREFIX.length) : null;
}

/** A conversation as it is kept. */
export function read(id) {
  const talk = recall(PREFIX + id);
  return isTalk(talk) ? talk : null;
}

/** What a conversation is called: how it began. */
export function title(talk) {
  return talk.messages.find((message) => message.role === "user")?.content.trim().split("\n")[0];
}

/** As the model is told of it, the system prompt first. */
export function messages(talk) {
  const whole = talk.messages.filter(({ role, content }) => role === "user" || content); // not an answer that failed
  const said = whole.map(({ role, content }) => ({ role, content }));
  return talk.system.trim() ? [{ role: "system", content: talk.system }, ...said] : said;
}

/** Hand conversations to the user as a file: a JSON object {"messages": [...]} a line, which models learn from. */
export function download(talks, called) {
  const lines = talks.map((talk) => JSON.stringify({ messages: messages(talk) }) + "\n");
  const url = URL.createObjectURL(new Blob(lines, { type: "application/jsonl" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `${called}.jsonl`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser may ask first where to
}

function isTalk(talk) {
  const isWhole = typeof talk?.id === "string" && typeof talk.system === "string" && Array.isArray(talk.messages);
  return isWhole && talk.messages.every(isMessage);
}

function isMessage(message) {
  return ["user", "assistant"].includes(message?.role) && typeof message.content === "string";
}
