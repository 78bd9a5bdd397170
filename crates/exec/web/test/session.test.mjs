// The client's state machine, and bytes on their way to the screen.

import assert from "node:assert/strict";
import { test } from "node:test";
import headless from "@xterm/headless";
import unicode11 from "@xterm/addon-unicode11";
import serialize from "@xterm/addon-serialize";
import * as frames from "../src/frames.mjs";
import { Kept } from "../src/kept.mjs";
import { Link } from "../src/link.mjs";
import { MOST_INPUT, Session } from "../src/session.mjs";

const bytes = (text) => new TextEncoder().encode(text);
const ready = (more = {}) => ({
  type: "ready", session: "s", secret: "x", base: 0, head: 0, inNext: 0, inOwn: 0, inWindow: 100, ...more,
});
const joined = (more) => {
  const session = new Session({ target: "web", token: "t", cols: 80, rows: 24 });
  session.connect();
  session.handle(ready(more));
  assert.equal(session.poll()[0], 0x05, "the size comes first");
  return session;
};
const all = (session) => {
  const sent = [];
  for (let frame = session.poll(); frame !== null; frame = session.poll()) sent.push(frame);
  return sent;
};
const number = (frame) => Number(new DataView(frame.buffer, frame.byteOffset).getBigUint64(1));

function terminal() {
  const made = new headless.Terminal({ cols: 20, rows: 6, allowProposedApi: true });
  made.loadAddon(new unicode11.Unicode11Addon());
  made.unicode.activeVersion = "11";
  const serializer = new serialize.SerializeAddon();
  made.loadAddon(serializer);
  return {
    write: (data) => new Promise((done) => made.write(data, done)),
    lines: () => Array.from({ length: 6 }, (_, row) => made.buffer.active.getLine(row).translateToString(true)),
    cells: () => serializer.serialize(),
    terminal: made,
  };
}

test("the token is in the first message and nowhere else", () => {
  const session = new Session({ target: "web", token: "hush", cols: 1, rows: 1 });
  assert.match(new TextDecoder().decode(session.connect()), /hush/u);
  session.handle(ready());
  session.disconnected();
  const again = new TextDecoder().decode(session.connect());
  assert.equal(again.charCodeAt(0), 0x02);
  assert.doesNotMatch(again, /hush/u);
});

test("frames that are none are refused, and later types are skipped", () => {
  for (const bad of [[], [0x82, 1], [0x81, 0x7b], [0x86, 0x31], [0x83, 255, 255, 255, 255, 255, 255, 255, 255]]) {
    assert.throws(() => frames.decode(Uint8Array.from(bad).buffer), frames.ProtocolError);
  }
  assert.equal(frames.decode(Uint8Array.of(0xf0, 1).buffer), null);
});

test("output is acknowledged when it was drawn, not when it came", () => {
  const session = joined();
  session.handle({ type: "output", offset: 0, stream: 1, bytes: bytes("abc") });
  assert.deepEqual(all(session), []);
  session.drew(3);
  const [ack] = all(session);
  assert.deepEqual([ack[0], number(ack)], [0x07, 3]);
  assert.throws(() => session.handle({ type: "output", offset: 2, stream: 1, bytes: bytes("x") }), frames.ProtocolError);
});

test("a gateway that sends more than its window is refused", () => {
  const session = joined();
  const piece = new Uint8Array(1 << 20);
  for (let sent = 0; sent < 4; sent += 1) {
    session.handle({ type: "output", offset: sent << 20, stream: 1, bytes: piece });
  }
  assert.throws(() => session.handle({ type: "output", offset: 4 << 20, stream: 1, bytes: piece }), frames.ProtocolError);
});

test("what the process has not taken is typed again from where the gateway is", () => {
  const session = joined({ inWindow: 4 });
  assert.ok(session.type(bytes("abcdefgh")));
  assert.deepEqual(all(session).map(number), [0], "the window is 4 bytes");
  session.handle({ type: "inputAck", offset: 2 });
  assert.deepEqual(all(session).map(number), [4]);
  session.disconnected();
  session.connect();
  session.handle(ready({ inNext: 5, inWindow: 100 }));
  const typed = all(session).filter((frame) => frame[0] === 0x03);
  assert.deepEqual([number(typed[0]), new TextDecoder().decode(typed[0].subarray(9))], [5, "fgh"]);
});

test("a size that was sent into a connection that broke is sent again", () => {
  const session = joined();
  session.resize(100, 30);
  assert.deepEqual([...session.poll()], [0x05, 0, 100, 0, 30]);
  session.disconnected();
  session.connect();
  session.handle(ready({ secret: "y" }));
  assert.deepEqual([...session.poll()], [0x05, 0, 100, 0, 30]);
});

test("too large a paste is refused as a whole", () => {
  const session = joined();
  assert.ok(session.type(bytes("a")));
  assert.equal(session.type(new Uint8Array(MOST_INPUT)), false);
  assert.deepEqual(all(session).filter((frame) => frame[0] === 0x03).map((frame) => frame.length), [10]);
});

test("a gap and a snapshot move on, and never acknowledge what was not sent", () => {
  const session = joined();
  session.handle({ type: "output", offset: 0, stream: 1, bytes: bytes("undrawn") });
  assert.equal(session.handle({ type: "gap", from: 7, to: 100, cause: 1 }).bytes, 93);
  session.handle({ type: "snapshot", offset: 120, bytes: bytes("screen") });
  session.handle({ type: "output", offset: 120, stream: 1, bytes: bytes("ab") });
  session.drew(7);
  session.drew(2);
  assert.deepEqual(all(session).map(number).at(-1), 122);
  session.drew(50);
  assert.deepEqual(all(session), []);
});

test("the end is told with its code, and said to have been heard", () => {
  const session = joined();
  assert.throws(() => session.handle({ type: "exit", end: {}, outLen: 9 }), frames.ProtocolError);
  const event = session.handle({ type: "exit", end: { reason: "exited", code: 7 }, outLen: 0 });
  assert.deepEqual([event.end.code, all(session).map((frame) => frame[0])], [7, [0x09]]);
  assert.equal(session.canResume, false);
});

test("a page that is loaded again comes back: all output, and no input of before", () => {
  const session = Session.resumed({ session: "s", secret: "x", cols: 80, rows: 24 });
  const first = session.connect();
  assert.equal(first[0], 0x02);
  const asked = JSON.parse(new TextDecoder().decode(first.subarray(1)));
  assert.deepEqual([asked.session, asked.secret, asked.want, asked.snapshot], ["s", "x", 0, true]);
  assert.equal(session.hasJoined, false);
  assert.ok(session.handle(ready({ secret: "y", base: 50, head: 90, inNext: 7 })).first);
  assert.equal(session.secret, "y");
  assert.equal(session.handle({ type: "gap", from: 0, to: 50, cause: 1 }).bytes, 50);
  session.handle({ type: "snapshot", offset: 90, bytes: bytes("screen") });
  assert.ok(session.type(bytes("ab")));
  const typed = all(session).filter((frame) => frame[0] === 0x03);
  assert.deepEqual([number(typed[0]), new TextDecoder().decode(typed[0].subarray(9))], [7, "ab"]);
  // Later on, input that nobody here typed is another's: ours goes on behind it.
  session.disconnected();
  session.connect();
  session.handle(ready({ secret: "z", inNext: 10 }));
  session.type(bytes("c"));
  assert.deepEqual(all(session).filter((frame) => frame[0] === 0x03).map(number), [10]);
});

test("a tab keeps its session for its own page, and never the token", () => {
  const items = new Map();
  const storage = {
    setItem: (key, value) => items.set(key, value),
    getItem: (key) => items.get(key) ?? null,
    removeItem: (key) => items.delete(key),
  };
  const kept = new Kept(storage, "/terminal/?target=web");
  assert.equal(kept.find(), null);
  assert.ok(kept.keep({ session: "s", secret: "x", target: "web", token: "hush" }));
  assert.doesNotMatch([...items.values()].join(), /hush/u);
  assert.deepEqual(kept.find(), { session: "s", secret: "x", target: "web" });
  assert.equal(new Kept(storage, "/terminal/?target=db").find(), null);
  kept.drop();
  assert.equal(kept.find(), null);
  for (const bad of ["", "null", "{}", "[1]", '{"page":"/terminal/?target=web","session":1,"secret":"x","target":"y"}']) {
    items.set("longshore.exec.session", bad);
    assert.equal(kept.find(), null, bad);
  }
  // A browser that keeps nothing.
  const none = new Kept(null, "/");
  assert.equal(none.keep({ session: "s", secret: "x", target: "t" }), false);
  assert.equal(none.find(), null);
  none.drop();
});

test("a session that is not there any more is not asked for twice", () => {
  const made = world();
  made.session = Session.resumed({ session: "s", secret: "x", cols: 80, rows: 24 });
  made.link = made.linked(made.session);
  made.link.start();
  assert.equal(made.link.state, "connecting");
  made.last().open();
  made.last().onclose({ code: 4004, reason: "r" });
  assert.deepEqual([made.states.at(-1)[0], made.states.at(-1)[1].why], ["ended", "unknown"]);
});

test("characters that are split anywhere are whole on the screen", async () => {
  const text = "CJK 日本語 e\u0301 😀 ﾊﾝ 한국\r\n\u001b[1;31mred\u001b[0m ok";
  const whole = terminal();
  await whole.write(bytes(text));
  assert.deepEqual(whole.lines().slice(0, 2).map((line) => line.normalize("NFC")), ["CJK 日本語 é 😀 ﾊﾝ ", "한국"]);
  for (let at = 1; at < bytes(text).length; at += 1) {
    const split = terminal();
    await split.write(bytes(text).subarray(0, at));
    await split.write(bytes(text).subarray(at));
    assert.equal(split.cells(), whole.cells(), `split at ${at}`);
  }
});

test("emoji and CJK take two columns", async () => {
  const { write, terminal: made } = terminal();
  await write(bytes("😀a日b"));
  const line = made.buffer.active.getLine(0);
  assert.deepEqual([0, 2, 3, 5].map((at) => line.getCell(at).getChars()), ["😀", "a", "日", "b"]);
});

// The connection, over sockets and timers of the test.

function world(request = { target: "web", cols: 80, rows: 24 }) {
  const made = { sockets: [], states: [], events: [], timers: new Map(), now: 0, next: 1 };
  made.session = new Session(request);
  made.linked = (session) => new Link({
    session,
    url: "ws://gateway/v1/exec",
    dial: (url, protocol) => {
      const socket = { url, protocol, readyState: 0, bufferedAmount: 0, sent: [], closed: null };
      socket.send = (frame) => socket.sent.push(frame);
      socket.close = (code) => { socket.closed = code; socket.readyState = 3; };
      socket.open = () => { socket.readyState = 1; socket.onopen({}); };
      socket.say = (frame) => socket.onmessage({ data: frame.slice().buffer });
      made.sockets.push(socket);
      return socket;
    },
    onState: (state, detail) => made.states.push([state, detail]),
    onEvent: (event) => made.events.push(event),
    now: () => made.now,
    setTimer: (run, after) => { made.timers.set(made.next, { at: made.now + after, run }); return made.next++; },
    clearTimer: (timer) => made.timers.delete(timer),
    random: () => 1,
  });
  made.link = made.linked(made.session);
  made.pass = (time) => {
    const until = made.now + time;
    for (;;) {
      const due = [...made.timers].filter(([, timer]) => timer.at <= until).sort(([, a], [, b]) => a.at - b.at)[0];
      if (due === undefined) break;
      made.timers.delete(due[0]);
      made.now = due[1].at;
      due[1].run();
    }
    made.now = until;
  };
  made.last = () => made.sockets.at(-1);
  return made;
}
const readyFrame = (more = {}) => {
  const body = { session: "s", secret: "x", base: 0, head: 0, in_next: 0, in_window: 100, ...more };
  return Uint8Array.from([0x81, ...bytes(JSON.stringify(body))]);
};
const live = (made) => {
  made.link.start();
  made.last().open();
  made.last().say(readyFrame());
  assert.equal(made.link.state, "live");
};

test("no address carries anything but the path", () => {
  const made = world({ target: "web", token: "hush", cols: 80, rows: 24 });
  live(made);
  assert.deepEqual([made.last().url, made.last().protocol], ["ws://gateway/v1/exec", "longshore.exec.v1"]);
});

test("a lost connection is resumed, later and later, and given up in the end", () => {
  const made = world();
  live(made);
  made.last().onclose({ code: 1006, reason: "" });
  assert.equal(made.link.state, "reconnecting");
  made.pass(250);
  made.last().open();
  assert.equal(made.last().sent[0][0], 0x02);
  made.last().say(readyFrame({ secret: "y" }));
  assert.equal(made.link.state, "live");
  const before = made.sockets.length;
  for (let tries = 0; tries < 200 && made.link.state !== "detached"; tries += 1) {
    made.last().onclose?.({ code: 1006, reason: "" });
    made.pass(9000);
  }
  assert.equal(made.link.state, "detached");
  const dialled = made.sockets.length - before;
  assert.ok(dialled > 20 && dialled < 60, `${dialled}`);
  made.link.start();
  assert.equal(made.link.state, "reconnecting");
});

test("a gateway that falls silent is left", () => {
  const made = world();
  live(made);
  made.pass(10_000);
  const ping = made.last().sent.at(-1);
  assert.equal(ping[0], 0x0a);
  made.last().say(Uint8Array.from([0x8a, ...ping.subarray(1)]));
  made.pass(10_001);
  assert.equal(made.link.state, "live", "it answered");
  made.pass(10_000);
  assert.equal(made.link.state, "reconnecting");
  assert.equal(made.sockets[0].closed, 1000);
});

test("what is final is not tried again", () => {
  for (const [code, state, why] of [[4003, "ended", "forbidden"], [4004, "ended", "unknown"], [4001, "detached", "superseded"], [4029, "ended", "limit"]]) {
    const made = world();
    live(made);
    made.last().onclose({ code, reason: "r" });
    assert.deepEqual([made.states.at(-1)[0], made.states.at(-1)[1].why], [state, why]);
    made.pass(60_000);
    assert.equal(made.sockets.length, 1);
  }
});

test("a gateway that breaks the protocol is left for good", () => {
  const made = world();
  live(made);
  made.last().say(Uint8Array.of(0x82, 1, 2));
  assert.deepEqual([made.link.state, made.states.at(-1)[1].why, made.last().closed], ["ended", "protocol", 1000]);
});

test("typing waits for a socket that is full", () => {
  const made = world();
  live(made);
  made.last().bufferedAmount = 1 << 20;
  const sent = made.last().sent.length;
  made.session.type(bytes("ls\r"));
  made.link.flush();
  assert.equal(made.last().sent.length, sent);
  made.last().bufferedAmount = 0;
  made.pass(50);
  assert.equal(made.last().sent.at(-1)[0], 0x03);
});

const inputs = (session) => all(session).filter((frame) => frame[0] === 0x03)
  .map((frame) => [number(frame), new TextDecoder().decode(frame.subarray(9))]);
const told = (session, code, inNext) => session.handle({ type: "notice", code, inNext });

test("what is typed without the right to never runs", () => {
  const session = joined();
  session.type(bytes("ab"));
  assert.deepEqual(inputs(session), [[0, "ab"]]);
  session.handle({ type: "inputAck", offset: 2 });
  session.type(bytes("lost"));
  assert.deepEqual(inputs(session), [[2, "lost"]]);
  told(session, "read-only");
  session.type(bytes("mute"));
  assert.deepEqual(inputs(session), []);
  session.connect();
  session.handle(ready({ inNext: 2 }));
  session.type(bytes("c"));
  assert.deepEqual(inputs(session), [[2, "c"]]);
  told(session, "read-only");
  told(session, "may-write", 40);
  assert.equal(session.poll()[0], 0x05, "the terminal had another size meanwhile");
  session.type(bytes("d"));
  assert.deepEqual(inputs(session), [[40, "d"]]);
  session.handle({ type: "inputAck", offset: 41 });
  assert.throws(() => session.handle({ type: "inputAck", offset: 42 }), frames.ProtocolError);
});

test("an owner who was cut hears that another typed, once", () => {
  const session = joined();
  session.type(bytes("x".repeat(90)));
  all(session);
  session.connect();
  session.handle(ready({ inNext: 50, inOwn: 50 }));
  assert.deepEqual(inputs(session), []);
  session.type(bytes("d"));
  session.connect();
  session.handle(ready({ inNext: 50, inOwn: 50 }));
  assert.deepEqual(inputs(session), [[50, "d"]]);
});

const person = (viewer, more = {}) => ({ viewer, name: `p${viewer}`, holds: false, writes: false, onlyLooks: false, isYou: false, ...more });
const here = (session, ...people) => session.handle({ type: "notice", code: "here", people });

test("an owner lends the keyboard, types nowhere meanwhile, and takes it back", () => {
  const session = joined();
  const asked = JSON.parse(new TextDecoder().decode(session.connect().subarray(1)));
  assert.equal(asked.people, true);
  session.handle(ready());
  assert.ok(session.mayType);
  here(session, person(0, { holds: true, writes: true, isYou: true }), person(1));
  session.grant(1);
  const lent = all(session).find((frame) => frame[0] === 0x0b);
  assert.equal(number(lent), 1);
  session.handle({ type: "notice", code: "read-only" });
  assert.equal(session.mayType, false);
  assert.ok(session.writes, "it is still the owner's session");
  assert.ok(session.type(bytes("nowhere")));
  assert.deepEqual(all(session), []);
  session.takeBack();
  assert.deepEqual(all(session).map((frame) => [...frame]), [[0x0c]]);
  session.handle({ type: "notice", code: "may-write", inNext: 7 });
  assert.ok(session.mayType);
  assert.ok(session.type(bytes("ab")));
  const typed = all(session).filter((frame) => frame[0] === 0x03);
  assert.deepEqual([number(typed[0]), new TextDecoder().decode(typed[0].subarray(9))], [7, "ab"]);
});

test("what was to be asked of those who were here is not asked after a cut", () => {
  const session = joined();
  session.grant(1);
  session.disconnected();
  session.connect();
  session.handle(ready());
  assert.deepEqual(all(session).map((frame) => frame[0]), [0x05], "the size alone");
  for (let round = 0; round < 100; round += 1) session.grant(round);
  assert.equal(all(session).length, 8, "few wait");
});

test("who looks on types once the keyboard is lent, and not after a cut", () => {
  const session = new Session({ target: "s", mode: "approve", stdin: true, cols: 80, rows: 24 });
  session.connect();
  session.handle(ready({ secret: null, inNext: 3 }));
  assert.equal(session.mayType, false);
  session.type(bytes("nowhere"));
  assert.deepEqual(all(session), []);
  session.handle({ type: "notice", code: "may-write", inNext: 5 });
  session.type(bytes("ab"));
  const frames_ = all(session);
  assert.deepEqual(frames_.map((frame) => frame[0]), [0x05, 0x03], "its size, and what it typed");
  assert.equal(number(frames_[1]), 5);
  session.close();
  assert.deepEqual(all(session), [], "it does not end another's session");
  session.disconnected();
  session.connect();
  session.handle(ready({ secret: null, inNext: 7 }));
  assert.equal(session.mayType, false);
});

test("people are read from a notice, and a person who is none is refused", () => {
  const frame = (body) => Uint8Array.from([0x87, ...bytes(JSON.stringify(body))]).buffer;
  const notice = { level: "info", code: "here", text: "x" };
  const read = frames.decode(frame({ ...notice, people: [{ viewer: 3, who: "ann", holds: true }, { viewer: 4, looks: true, you: true }] }));
  assert.deepEqual(read.people, [
    person(3, { name: "ann", holds: true }),
    person(4, { name: null, onlyLooks: true, isYou: true }),
  ]);
  assert.deepEqual(frames.decode(frame(notice)).people, []);
  for (const people of [[null], [{}], [{ viewer: -1 }], [{ viewer: "1" }]]) {
    assert.throws(() => frames.decode(frame({ ...notice, people })), frames.ProtocolError);
  }
  const many = Array.from({ length: 1000 }, (_, viewer) => ({ viewer }));
  assert.equal(frames.decode(frame({ ...notice, people: many })).people.length, 256);
});
