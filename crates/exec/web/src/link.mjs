// Keeps a session connected: opens sockets, notices dead ones, comes back by
// RESUME, and says in which state it is. Sockets and timers are handed in.

import * as frames from "./frames.mjs";

/** How long to wait before each try: doubled from the first to the last. */
const FIRST_WAIT = 250;
const LAST_WAIT = 8_000;
/** A gateway keeps a session for five minutes by default. */
const GIVE_UP_AFTER = 300_000;
const CONNECT_LIMIT = 15_000;
const PING_EVERY = 10_000;
const PONG_LIMIT = 10_000;
/** Bytes that the socket has not sent yet, above which typing waits. */
const HIGH_WATER = 256 << 10;

/** Closes after which coming back is no use, and what they mean. */
const FINAL = {
  1000: "closed",
  1003: "protocol",
  1007: "protocol",
  1008: "forbidden",
  1009: "protocol",
  4000: "protocol",
  4001: "superseded",
  4002: "protocol",
  4003: "forbidden",
  4004: "unknown",
  4008: "idle",
  4009: "max-duration",
  4010: "container-gone",
  4029: "limit",
};

/**
 * States: `connecting`, `live`, `reconnecting`, `detached` (can be attached again), `ended`.
 * @param options `{ session, dial: (url, protocol) => WebSocket, url, onState(state, detail),
 *   onEvent(event), now, setTimer, clearTimer, random }`
 */
export class Link {
  #options;
  #session;
  #socket = null;
  #state = "idle";
  #timers = new Map();
  #tries = 0;
  #lostAt = null;
  #pings = 0;
  #answered = 0;

  constructor(options) {
    this.#options = {
      now: () => Date.now(),
      setTimer: (run, after) => setTimeout(run, after),
      clearTimer: (timer) => clearTimeout(timer),
      random: Math.random,
      ...options,
    };
    this.#session = options.session;
  }

  get state() {
    return this.#state;
  }

  /** Connects, or comes back after a detach. */
  start() {
    if (this.#state === "live" || this.#state === "ended") return;
    this.#tries = 0;
    this.#lostAt = null;
    this.#become(this.#session.hasJoined ? "reconnecting" : "connecting", {});
    this.#dial();
  }

  /** Leaves; the session goes on for its grace time. */
  detach() {
    this.#send(frames.detach());
    this.#drop(1000);
    this.#become("detached", { why: "left" });
  }

  /** Tries at once, for when the network is back. */
  hurry() {
    if (this.#state === "reconnecting" && this.#socket === null) this.#dial();
  }

  /** Sends what the session has to say. */
  flush() {
    while (this.#socket?.readyState === 1 && this.#socket.bufferedAmount < HIGH_WATER) {
      const frame = this.#session.poll();
      if (frame === null) return;
      this.#send(frame);
    }
    if (this.#socket?.readyState === 1) this.#after("drain", 50, () => this.flush());
  }

  #dial() {
    this.#clear("retry");
    let socket;
    try {
      socket = this.#options.dial(this.#options.url, frames.SUBPROTOCOL);
    } catch (error) {
      this.#fail("unreachable", error.message);
      return;
    }
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    const mine = (run) => (event) => {
      if (this.#socket === socket) run(event);
    };
    socket.onopen = mine(() => this.#send(this.#session.connect()));
    socket.onmessage = mine(({ data }) => this.#receive(data));
    socket.onclose = mine(({ code, reason }) => this.#closed(code, reason));
    this.#after("connect", CONNECT_LIMIT, () => {
      this.#drop(1000);
      this.#closed(1006, "the gateway did not answer in time");
    });
  }

  #receive(data) {
    let event;
    try {
      if (!(data instanceof ArrayBuffer)) throw new frames.ProtocolError("a text message");
      const frame = frames.decode(data);
      if (frame?.type === "pong") {
        this.#answered = Math.max(this.#answered, frame.token);
        return;
      }
      event = this.#session.handle(frame);
    } catch (error) {
      if (!(error instanceof frames.ProtocolError)) throw error;
      this.#drop(1000);
      this.#fail("protocol", error.message);
      return;
    }
    if (event?.type === "ready") {
      this.#clear("connect");
      this.#tries = 0;
      this.#lostAt = null;
      this.#become("live", {});
      this.#beat();
    }
    if (event !== null) this.#options.onEvent(event);
    if (event?.type === "ended") this.#become("ended", { end: event.end });
    this.flush();
  }

  #closed(code, reason) {
    this.#drop(1000);
    if (this.#state === "ended") return;
    const meaning = FINAL[code];
    if (meaning === "superseded") {
      this.#become("detached", { why: meaning });
    } else if (meaning !== undefined) {
      this.#fail(meaning, reason);
    } else if (!this.#session.hasJoined && this.#tries >= 2) {
      this.#fail("unreachable", reason || "the gateway can't be reached");
    } else {
      this.#retry();
    }
  }

  #retry() {
    const { now, random } = this.#options;
    this.#lostAt ??= now();
    if (now() - this.#lostAt >= GIVE_UP_AFTER) {
      this.#become("detached", { why: "unreachable" });
      return;
    }
    const longest = Math.min(FIRST_WAIT * 2 ** this.#tries, LAST_WAIT);
    this.#tries += 1;
    if (this.#session.hasJoined) this.#become("reconnecting", { tries: this.#tries });
    this.#after("retry", longest / 2 + (random() * longest) / 2, () => this.#dial());
  }

  /** A dead connection is closed by nobody: whoever does not answer is left. */
  #beat() {
    this.#after("ping", PING_EVERY, () => {
      this.#pings += 1;
      const asked = this.#pings;
      this.#send(frames.ping(asked));
      this.#after("pong", PONG_LIMIT, () => {
        if (this.#answered >= asked) return;
        this.#drop(1000);
        this.#closed(1006, "the gateway does not answer");
      });
      this.#beat();
    });
  }

  #fail(why, reason) {
    this.#become("ended", { why, reason });
  }

  #become(state, detail) {
    this.#state = state;
    this.#options.onState(state, detail);
  }

  #send(frame) {
    if (this.#socket?.readyState === 1) this.#socket.send(frame);
  }

  #drop(code) {
    const socket = this.#socket;
    this.#socket = null;
    for (const name of [...this.#timers.keys()]) this.#clear(name);
    this.#session.disconnected();
    socket?.close(code);
  }

  #after(name, wait, run) {
    this.#clear(name);
    const timer = this.#options.setTimer(() => {
      this.#timers.delete(name);
      run();
    }, wait);
    this.#timers.set(name, timer);
  }

  #clear(name) {
    const timer = this.#timers.get(name);
    if (timer === undefined) return;
    this.#options.clearTimer(timer);
    this.#timers.delete(name);
  }
}
