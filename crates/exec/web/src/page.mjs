// The page: one terminal, one session.

import { FitAddon } from "./addon-fit.mjs";
import { SerializeAddon } from "./addon-serialize.mjs";
import { Unicode11Addon } from "./addon-unicode11.mjs";
import { Kept } from "./kept.mjs";
import { Link } from "./link.mjs";
import { Session } from "./session.mjs";
import { Terminal } from "./xterm.mjs";

const at = (id) => document.getElementById(id);
const encoder = new TextEncoder();

/** What people read for the words of the protocol. */
const ENDS = {
  exited: "ended",
  signaled: "ended by a signal",
  oom: "ended: out of memory",
  "container-gone": "the container is gone",
  "start-failed": "could not start",
  "auth-expired": "leave to be here has ended",
  idle: "ended: nothing happened for too long",
  "max-duration": "ended: the longest time is over",
  "ended-by-operator": "ended by a person",
  "server-shutdown": "the server shuts down",
  lost: "lost: nobody came back in time",
};
const FAILURES = {
  closed: "closed by the server",
  forbidden: "not allowed: check the token and the name",
  unknown: "there is no such container or session any more",
  limit: "too many sessions: end one first",
  protocol: "the server and this page do not understand each other",
  unreachable: "the server can't be reached",
  idle: ENDS.idle,
  "max-duration": ENDS["max-duration"],
  "container-gone": ENDS["container-gone"],
};

/** Notices that are seen in the state, not read. */
const RIGHTS = ["here", "joined", "left", "may-write", "read-only"];

const terminal = new Terminal({
  allowProposedApi: true,
  cursorBlink: true,
  fontFamily: '"Cascadia Mono", "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace',
  fontSize: 15,
  macOptionIsMeta: true,
  scrollback: 10_000,
  theme: { background: "#0f1318", foreground: "#e3e8ee", cursor: "#8ec2ff" },
});
const fit = new FitAddon();
const serializer = new SerializeAddon();
terminal.loadAddon(fit);
terminal.loadAddon(serializer);
terminal.loadAddon(new Unicode11Addon());
terminal.unicode.activeVersion = "11";

const kept = new Kept(storage(), location.pathname + location.search);

let session = null;
let link = null;
/** Whether a page that is loaded again comes back by itself. */
let comesBack = false;

/** A browser may forbid even to look. */
function storage() {
  try {
    return window.sessionStorage;
  } catch {
    return null;
  }
}

function show(state, text) {
  document.body.dataset.state = state;
  document.body.dataset.types = session?.mayType ? "yes" : "no";
  at("state-text").textContent = text;
  at("detach").hidden = state !== "live" || !session?.writes;
  at("end").hidden = at("detach").hidden;
  at("again").hidden = state !== "detached";
  at("new").hidden = !["ended", "failed", "detached"].includes(state);
  at("save").hidden = session === null;
  terminal.options.disableStdin = !["live", "reconnecting"].includes(state) || !session?.mayType;
  showPeople(state);
}

/** Connected, and who types. */
function standing() {
  const { mayType, writes, people } = session;
  const called = (is) => people.find(is)?.name ?? "somebody";
  if (mayType) return writes ? "connected" : "you have the keyboard";
  if (writes) return `read-only: ${called((it) => it.writes)} has the keyboard`;
  const you = people.find((it) => it.isYou);
  if (you === undefined || you.onlyLooks) return "watching, read-only";
  if (people.some((it) => it.holds)) return `watching, read-only: ask ${called((it) => it.holds)} for the keyboard`;
  return "watching, read-only: whose session it is, is away";
}

/** Who else is here, and what can be done about who types. */
function showPeople(state) {
  const people = state === "live" ? session.people : [];
  const others = people.filter((it) => !it.isYou).length;
  at("take").hidden = state !== "live" || !session.writes || session.mayType;
  at("people").hidden = others === 0;
  at("people").textContent = others === 1 ? "1 other here" : `${others} others here`;
  const isOpen = others > 0 && at("people").getAttribute("aria-expanded") === "true";
  at("panel").hidden = !isOpen;
  const focused = document.activeElement?.dataset?.viewer;
  at("panel-list").replaceChildren(...people.map(personRow));
  if (focused !== undefined) {
    (document.querySelector(`#panel [data-viewer="${CSS.escape(focused)}"]`) ?? at("people")).focus();
  }
}

function personRow(person) {
  const row = document.createElement("li");
  const name = document.createElement("span");
  name.className = "name";
  name.textContent = (person.name ?? "somebody") + (person.isYou ? " (you)" : "");
  const doing = document.createElement("span");
  doing.className = "doing";
  const looks = person.onlyLooks ? "looks on only" : "looks on";
  doing.textContent = (person.writes ? "types" : looks) + (person.holds ? ", owner" : "");
  row.append(name, doing);
  if (session.mayType || session.writes) {
    if (!person.onlyLooks && !person.writes && !(person.holds && person.isYou)) {
      const lend = document.createElement("button");
      lend.type = "button";
      lend.dataset.viewer = String(person.viewer);
      lend.textContent = "Let type";
      lend.setAttribute("aria-label", `Let ${name.textContent} type`);
      lend.addEventListener("click", () => {
        session.grant(person.viewer);
        link.flush();
      });
      row.append(lend);
    }
  }
  return row;
}

function notice(text) {
  at("notice").textContent = text;
  at("notice").hidden = text === "";
}

function onState(state, detail) {
  if (state === "ended") kept.drop();
  if (state === "connecting") show(state, "connecting…");
  if (state === "live") show(state, standing());
  if (state === "reconnecting") show(state, "connection lost, reconnecting…");
  if (state === "detached") {
    if (detail.why === "superseded") kept.drop();
    const why = detail.why === "superseded" ? "taken over by another window" : "detached";
    show(state, detail.why === "unreachable" ? "detached: the server can't be reached" : why);
    at("again").focus();
  }
  if (state === "ended" && detail.end) {
    const { reason, code, signal, text } = detail.end;
    const how = [ENDS[reason] ?? reason];
    if (signal !== undefined) how.push(`signal ${signal}`);
    const failed = reason === "start-failed";
    // A code that nobody knows is not 0.
    if (code !== undefined) how.push(`exit code ${code}`);
    else if (!failed) how.push("exit code unknown");
    if (text) how.push(text);
    show(failed ? "failed" : state, how.join(", "));
    at("new").focus();
  } else if (state === "ended") {
    show("failed", FAILURES[detail.why] ?? detail.why);
    notice(detail.reason ?? "");
    if (terminal.element === undefined || !session.hasJoined) askAgain();
  }
}

function onEvent(event) {
  switch (event.type) {
    case "ready":
      if (!event.first && !session.writes) terminal.reset();
      if (event.first) openTerminal();
      comesBack = session.writes && kept.keep({ session: session.id, secret: session.secret, target: at("title").textContent });
      return;
    case "output": {
      const mine = session;
      terminal.write(event.bytes, () => {
        mine.drew(event.bytes.length);
        if (mine === session) link.flush();
      });
      return;
    }
    case "gap":
      notice(`${event.bytes} bytes of output are missing: more came than is kept`);
      return;
    case "snapshot":
      takeSize(event.bytes);
      terminal.reset();
      terminal.write(event.bytes);
      return;
    case "notice":
      if (RIGHTS.includes(event.code)) {
        // Before a gateway has let it in, and behind its end, there is no state to show it in.
        if (link.state === "live") show("live", standing());
        if (event.code === "may-write") fitTerminal();
        return;
      }
      if (event.code !== "started") notice(event.text);
      return;
    default:
  }
}

function openTerminal() {
  at("form").hidden = true;
  at("terminal").hidden = false;
  if (terminal.element === undefined) terminal.open(at("terminal"));
  fitTerminal();
  terminal.focus();
}

/** Who may not type has the size of who does; it comes with the snapshot. */
function fitTerminal() {
  if (at("terminal").hidden || !session) return;
  if (session.mayType) fit.fit();
}

/** A redraw begins with RIS and the session's size (XTWINOPS 8). It is read here and not by a handler
 * of xterm's parser, which may not resize while it parses. */
function takeSize(bytes) {
  if (session.mayType) return;
  const start = new TextDecoder().decode(bytes.subarray(0, 32));
  const [, rows, cols] = (/^\u001bc\u001b\[8;(\d{1,3});(\d{1,3})t/u).exec(start) ?? [];
  if (rows > 0 && cols > 1) terminal.resize(Number(cols), Number(rows));
}

function askAgain() {
  at("form").hidden = false;
  at("terminal").hidden = true;
  at("token").focus();
}

function connect(made) {
  notice("");
  terminal.reset();
  session = made;
  const url = new URL("../v1/exec", location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = url.hash = "";
  link = new Link({
    session,
    url: url.href,
    dial: (address, protocol) => new WebSocket(address, protocol),
    onState,
    onEvent,
  });
  link.start();
}

function type(bytes) {
  if (!session?.mayType || !["live", "reconnecting"].includes(link.state)) return;
  if (session.type(bytes)) link.flush();
  else notice("not sent: the program has not read what was typed before");
}

/** A command as a shell would split it, as far as quotes go. */
export function words(text) {
  const found = [];
  const pattern = /(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+/gu;
  for (const [word] of text.matchAll(pattern)) {
    found.push(word.replace(/'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)/gu, (_, plain, quoted, escaped) =>
      plain ?? quoted?.replace(/\\(["\\$`])/gu, "$1") ?? escaped));
  }
  return found;
}

terminal.onData((text) => type(encoder.encode(text)));
terminal.onBinary((text) => type(Uint8Array.from(text, (char) => char.charCodeAt(0) & 0xff)));
terminal.onResize(({ cols, rows }) => {
  if (!session?.mayType) return;
  session.resize(cols, rows);
  link.flush();
});
terminal.onTitleChange((title) => {
  document.title = title === "" ? "Terminal" : title.slice(0, 200);
});
terminal.attachCustomKeyEventHandler((event) => {
  if (event.key !== "F6" || !event.ctrlKey) return true;
  if (event.type === "keydown") document.querySelector("nav button:not([hidden])")?.focus();
  return false;
});

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = at("token").value;
  const target = at("target").value.trim();
  at("token").value = "";
  at("title").textContent = target;
  const request = { target, cols: terminal.cols, rows: terminal.rows };
  if (token !== "") request.token = token;
  if (at("watch").checked && at("approve").checked) Object.assign(request, { mode: "approve", stdin: true });
  else if (at("watch").checked) request.mode = "watch";
  else Object.assign(request, { tty: true, stdin: true, term: "xterm-256color", argv: words(at("command").value) });
  connect(new Session(request));
});
at("detach").addEventListener("click", () => link.detach());
at("again").addEventListener("click", () => link.start());
at("take").addEventListener("click", () => {
  session.takeBack();
  link.flush();
  terminal.focus();
});
at("people").addEventListener("click", () => {
  const isOpen = at("people").getAttribute("aria-expanded") === "true";
  at("people").setAttribute("aria-expanded", String(!isOpen));
  showPeople(document.body.dataset.state);
});
at("watch").addEventListener("change", () => {
  at("approve-label").hidden = !at("watch").checked;
});
at("end").addEventListener("click", () => {
  session.close();
  link.flush();
});
at("new").addEventListener("click", () => {
  kept.drop();
  notice("");
  show("idle", "not connected");
  askAgain();
});
at("save").addEventListener("click", () => {
  const blob = new Blob([serializer.serialize()], { type: "text/plain" });
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(blob);
  anchor.download = "terminal.txt";
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 1000);
});
window.addEventListener("online", () => link?.hurry());
window.addEventListener("beforeunload", (event) => {
  const holds = ["live", "reconnecting"].includes(document.body.dataset.state) && session?.writes;
  if (holds && !comesBack) event.preventDefault();
});
new ResizeObserver(() => fitTerminal()).observe(at("terminal"));

// A link may name the container and the command, never a token.
const given = new URLSearchParams(location.search);
at("target").value = given.get("target") ?? "";
at("command").value = given.get("command") ?? "";
const before = kept.find();
if (before === null) {
  at(at("target").value === "" ? "target" : "token").focus();
} else {
  at("target").value = at("title").textContent = before.target;
  connect(Session.resumed({ ...before, cols: terminal.cols, rows: terminal.rows }));
}
