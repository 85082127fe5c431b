// The page begins here: what is on it is joined.

import { models } from "./api.js";
import * as chat from "./chat.js";
import { element } from "./element.js";
import { keep, recall } from "./kept.js";
import { tell, withdraw } from "./notices.js";
import * as settings from "./settings.js";
import * as side from "./side.js";
import * as talks from "./talks.js";
import * as theme from "./theme.js";
import { say, switchLanguage, translate } from "./words.js";

const MODEL = "viva.model";
const $ = (selector) => document.querySelector(selector);
const [text, system, model] = ["#text", "#system", "#model"].map($);
let known = []; // conversations, newest first

function refresh() {
  const shown = chat.current().messages.length && !known.includes(chat.current());
  if (shown) known.push(chat.current());
  known.sort((one, other) => other.changed - one.changed);
  side.show(known, chat.current(), { open, download: (talk) => talks.download([talk], "conversation"), remove });
  $("#welcome").hidden = chat.current().messages.length > 0;
  $("#stop").hidden = !chat.isRunning();
  $("#send").hidden = chat.isRunning();
}

function open(talk) {
  chat.open(talk);
  system.value = talk.system;
  document.body.classList.remove("listing");
  text.focus();
}

function begin() {
  open(talks.begin(system.value));
}

function remove(...gone) {
  if (!confirm(say(gone.length > 1 ? "confirmDeleteAll" : "confirmDelete"))) return;
  for (const talk of gone) {
    chat.drop(talk);
    talks.remove(talk);
  }
  known = known.filter((talk) => !gone.includes(talk));
  if (gone.includes(chat.current())) begin();
  refresh();
}

async function loadModels() {
  try {
    const names = (await models(settings.key())).map(({ id }) => id);
    model.replaceChildren(...names.map((id) => element("option", { value: id }, id)));
    if (names.includes(recall(MODEL))) model.value = recall(MODEL);
    for (const kind of ["noModels", "locked", "unreachable", "failed", "refused"]) withdraw(kind);
    if (!names.length) tell("noModels");
  } catch (error) {
    tell(error.kind, { detail: error.detail }, "retry", loadModels);
    if (error.kind === "locked") settings.show(true);
  }
}

async function send() {
  if (!text.value.trim() || chat.isRunning()) return;
  if (!settings.areValid()) return;
  if (!model.value) await loadModels();
  if (!model.value) return; // it was told why, and what was written stays
  const said = text.value;
  text.value = "";
  fit();
  await chat.send(said);
}

/** Let the composer be as high as what is written, to a bound that style.css sets. */
function fit() {
  text.style.height = "auto";
  text.style.height = `${text.scrollHeight}px`;
}

function press(event) {
  if (event.key === "Escape" && chat.isRunning()) chat.stop();
  else if (event.key === "Escape") {
    settings.show(false);
    document.body.classList.remove("listing");
  } else if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    begin();
  } else if (event.key === "Enter" && event.target === text && !event.shiftKey && !event.isComposing) {
    event.preventDefault(); // while one is composing a character, Enter chooses it
    send();
  }
}

/** Another tab has changed a conversation. */
function reread(event) {
  const id = talks.changed(event);
  const [mine, now] = [known.find((talk) => talk.id === id), id && talks.read(id)];
  if (!id || (mine && chat.isRunning(mine))) return;
  known = known.filter((talk) => talk !== mine);
  if (now) known.push(now);
  if (mine && mine === chat.current()) now ? chat.open(now) : begin();
  refresh();
}

function listen() {
  const clicks = {
    "#new": begin,
    "#stop": () => chat.stop(),
    "#theme": theme.toggle,
    "#language": switchLanguage,
    "#settings-open": () => settings.show(),
    "#settings-close": () => settings.show(false),
    "#side-open": () => document.body.classList.add("listing"),
    "#side-close": () => document.body.classList.remove("listing"),
    "#export-all": () => known.length && talks.download(known, "conversations"),
    "#delete-all": () => known.length && remove(...known),
  };
  for (const [selector, act] of Object.entries(clicks)) $(selector).addEventListener("click", act);
  $("#composer").addEventListener("submit", (event) => (event.preventDefault(), send()));
  $("#fields").elements.key.addEventListener("change", loadModels);
  text.addEventListener("input", fit);
  model.addEventListener("change", () => keep(MODEL, model.value));
  system.addEventListener("input", () => (chat.current().system = system.value));
  system.addEventListener("change", () => chat.current().messages.length && talks.save(chat.current()));
  addEventListener("keydown", press);
  addEventListener("storage", reread);
  addEventListener("pagehide", chat.leave);
}

theme.restore();
settings.restore();
translate();
listen();
chat.onChange(refresh);
const { talks: kept, broken } = talks.all();
known = kept;
if (broken) tell("broken", { count: broken });
begin();
await loadModels();
