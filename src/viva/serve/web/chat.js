// The conversation that is open: sent to, answered, stopped, changed. One that is left goes on being answered.

import { answered, asked } from "./message.js";
import { tell, withdraw } from "./notices.js";
import { write } from "./reply.js";
import * as settings from "./settings.js";
import { messages, save } from "./talks.js";
import { say } from "./words.js";

const NEAR = 80; // pixels from the end within which a reader follows what is written
const list = document.querySelector("#messages");
const scroll = document.querySelector("#scroll");
const status = document.querySelector("#status");
const model = document.querySelector("#model");
const views = new WeakMap(); // of messages
const running = new Map(); // from a conversation to what stops its answer
const waiting = new Set(); // messages that have grown since they were drawn
let talk = null;
let changed = () => {}; // called when a conversation has changed, or is answered no more

/** Call this after every change. */
export function onChange(call) {
  changed = call;
}

/** The conversation that is open. */
export function current() {
  return talk;
}

/** Whether a conversation is being answered. */
export function isRunning(one = talk) {
  return running.has(one);
}

/** Open a conversation. */
export function open(one) {
  talk = one;
  withdraw("replaced");
  show();
  scroll.scrollTop = scroll.scrollHeight;
}

/** Say something. */
export function send(text) {
  withdraw("replaced");
  talk.messages.push({ role: "user", content: text });
  return answer(talk);
}

/** Stop what is being written in a conversation. */
export function stop(one = talk) {
  running.get(one)?.abort();
}

/** Stop what is being written in a conversation, which is not to be kept any more. */
export function drop(one) {
  one._removed = true;
  stop(one);
}

/** Keep what is being written, for the page closes. */
export function leave() {
  for (const one of running.keys()) {
    one.messages.at(-1).finish = "stopped";
    save(one);
  }
}

/** Say something else in the place of a message, or (no text) have it answered anew. */
function replace(message, text) {
  if (!settings.areValid()) return;
  stop();
  const own = talk;
  const before = [...own.messages];
  const at = before.indexOf(message);
  own.messages = before.slice(0, at);
  if (text !== undefined) own.messages.push({ role: "user", content: text });
  const undo = () => {
    stop(own);
    own.messages = before;
    keep(own);
    if (own === talk) show();
  };
  tell("replaced", { count: before.length - at }, "undo", undo);
  answer(own);
}

async function answer(own) {
  const request = { model: model.value, messages: messages(own), ...settings.sampling() };
  const message = { role: "assistant", content: "", _tokens: [] };
  const stopper = new AbortController();
  own.messages.push(message);
  own.changed = Date.now();
  running.set(own, stopper);
  keep(own);
  show();
  scroll.scrollTop = scroll.scrollHeight;
  status.textContent = say("answering");
  try {
    await write(message, request, settings.key(), stopper.signal, () => soon(message));
  } finally {
    if (running.get(own) === stopper) running.delete(own); // else it is being answered anew
    draw(message);
    keep(own);
    status.textContent = say("answered", { text: message.content });
  }
}

function keep(own) {
  if (own._removed) return;
  if (save(own)) withdraw("full");
  else tell("full");
  changed();
}

function show() {
  list.replaceChildren(...talk.messages.map((message) => viewOf(message).node));
  changed();
}

function viewOf(message) {
  if (!views.has(message)) {
    const made =
      message.role === "user"
        ? asked(message, (text) => replace(message, text))
        : answered(message, () => replace(message));
    views.set(message, made);
  }
  return views.get(message);
}

/** Draw a message before the next frame, once for all that has come until then. */
function soon(message) {
  if (waiting.has(message)) return;
  waiting.add(message);
  requestAnimationFrame(() => {
    waiting.delete(message);
    draw(message);
  });
}

function draw(message) {
  const follows = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < NEAR;
  viewOf(message).draw();
  if (follows) scroll.scrollTop = scroll.scrollHeight;
}
