// A client's side of one session, across its connections. No DOM, no sockets, no
// clock: frames go in, frames and events come out.

import * as frames from "./frames.mjs";
import { ProtocolError } from "./frames.mjs";

/** Typed bytes that the process has not taken; a paste beyond that is refused. */
export const MOST_INPUT = 1 << 20;
/** Received bytes that the screen has not drawn. The gateway's window is smaller. */
const MOST_UNDRAWN = 4 << 20;
/** Acknowledged at least this often, and always when nothing is left to draw (the low water): the
 * gateway's smallest window is 8 KiB, so that it never waits for us while we wait for it. */
const ACK_EVERY = 4 << 10;
const PIECE = 16 << 10;
const MOST_PASSES = 8;

export class Session {
  #request;
  #ready = null;
  #came = false;
  #want = 0;
  #drawn = 0;
  #acknowledged = 0;
  #input = new Uint8Array();
  #taken = 0;
  #sent = 0;
  /** The furthest that was ever sent. */
  #reached = 0;
  /** Whether the gateway takes input of this connection. */
  #mayType = false;
  /** From here on the input is this client's alone. */
  #ownFrom = 0;
  #size;
  #sizeSent = false;
  #connected = false;
  #ending = false;
  #end = null;
  #people = [];
  /** Changes of who may type that are to be asked for. */
  #passes = [];

  /** @param request the body of OPEN; its token is sent in the first message only. */
  constructor(request) {
    this.#request = { ...request, snapshot: true, people: true };
    this.#size = [request.cols, request.rows];
  }

  /** A session that another page of this tab began: its output from the beginning, or a redraw, and
   * no input but what is typed from now on. */
  static resumed({ session, secret, cols, rows }) {
    const resumed = new Session({ cols, rows });
    resumed.#ready = { session, secret, inWindow: 0 };
    return resumed;
  }

  get id() {
    return this.#ready?.session ?? null;
  }

  /** Why and how it ended; `null` before. */
  get end() {
    return this.#end;
  }

  /** What opens it again; `null` for who only watches. */
  get secret() {
    return this.#ready?.secret ?? null;
  }

  /** Whether a gateway has let it in. */
  get hasJoined() {
    return this.#came;
  }

  /** Whether the session is this client's, who may come back to it. */
  get writes() {
    return this.#ready?.secret != null;
  }

  /** Whether what is typed here is taken: its owner may lend the keyboard to another. */
  get mayType() {
    return this.#mayType;
  }

  /** Who is here, as far as the gateway tells. */
  get people() {
    return this.#people;
  }

  /** Lends the keyboard to another connection. What comes of it is told as who is here, or as the
   * notice `not-granted`. */
  grant(viewer) {
    if (this.#passes.length < MOST_PASSES) this.#passes.push(frames.grant(viewer));
  }

  /** Takes the keyboard back. */
  takeBack() {
    if (this.#passes.length < MOST_PASSES) this.#passes.push(frames.takeBack());
  }

  get canResume() {
    return this.writes && this.#end === null;
  }

  /** Received and not drawn. */
  get undrawn() {
    return this.#want - this.#drawn;
  }

  /** The first frame of a new connection. */
  connect() {
    this.#connected = false;
    if (this.#ready?.secret != null) {
      const { session, secret } = this.#ready;
      return frames.resume({ session, secret, want: this.#want, snapshot: true, people: true });
    }
    const [cols, rows] = this.#size;
    return frames.open({ ...this.#request, cols, rows });
  }

  disconnected() {
    this.#connected = false;
    // What was meant for those who were here is not asked of others.
    this.#passes = [];
  }

  /** Takes a frame in; gives the event it makes, or `null`. Throws ProtocolError. */
  handle(frame) {
    if (frame === null) return null;
    if (frame.type === "ready") return this.#joined(frame);
    if (!this.#connected) throw new ProtocolError("the gateway's first frame is not READY");
    switch (frame.type) {
      case "output":
        if (frame.offset !== this.#want) {
          throw new ProtocolError(`output at offset ${frame.offset}, and ${this.#want} was to come`);
        }
        this.#want += frame.bytes.length;
        if (this.undrawn > MOST_UNDRAWN) {
          throw new ProtocolError("the gateway sends more than its window");
        }
        return { type: "output", bytes: frame.bytes };
      case "gap":
        if (frame.from !== this.#want || frame.to < frame.from) {
          throw new ProtocolError("a gap that is none");
        }
        this.#skip(frame.to);
        return { type: "gap", bytes: frame.to - frame.from, flushed: frame.cause === 2 };
      case "snapshot":
        if (frame.offset < this.#want) throw new ProtocolError("a snapshot of the past");
        this.#skip(frame.offset);
        return { type: "snapshot", bytes: frame.bytes };
      case "inputAck":
        // It may have taken what was sent before we heard that it would not.
        if (frame.offset > Math.max(this.#sent, this.#reached)) {
          throw new ProtocolError("input acknowledged, never sent");
        }
        if (frame.offset > this.#taken) {
          this.#input = this.#input.slice(frame.offset - this.#taken);
          this.#taken = frame.offset;
          this.#sent = Math.max(this.#sent, frame.offset);
        }
        return null;
      case "notice":
        if (frame.code === "here") {
          this.#people = frame.people;
        } else if (frame.code === "read-only") {
          this.#mayType = false;
          this.#typeAnewAt(this.#sent);
        } else if (frame.code === "may-write" && frame.inNext !== undefined) {
          this.#mayType = true;
          this.#ownFrom = frame.inNext;
          this.#typeAnewAt(frame.inNext);
          // Whoever typed meanwhile had another terminal.
          this.#sizeSent = false;
        }
        return frame;
      case "exit":
        if (frame.outLen !== this.#want) throw new ProtocolError("the end came before all output");
        this.#end = frame.end;
        this.#ending = true;
        return { type: "ended", end: frame.end };
      default:
        return frame;
    }
  }

  /** The next frame to send, or `null`. */
  poll() {
    if (!this.#connected) return null;
    if (!this.#sizeSent && this.#mayType) {
      this.#sizeSent = true;
      return frames.resize(...this.#size);
    }
    const pass = this.#passes.shift();
    if (pass !== undefined) return pass;
    const owed = this.#drawn - this.#acknowledged;
    if (owed > 0 && (owed >= ACK_EVERY || this.undrawn === 0)) {
      this.#acknowledged = this.#drawn;
      return frames.ack(this.#drawn);
    }
    const typed = this.#taken + this.#input.length;
    const limit = Math.min(typed, this.#taken + this.#ready.inWindow, this.#sent + PIECE);
    if (this.#mayType && this.#sent < limit) {
      const from = this.#sent;
      this.#sent = limit;
      this.#reached = Math.max(this.#reached, limit);
      return frames.input(from, this.#input.slice(from - this.#taken, limit - this.#taken));
    }
    if (this.#ending && this.writes) {
      this.#ending = false;
      return frames.end();
    }
    return null;
  }

  /** So many bytes of output were drawn, in the order in which they came. */
  drew(bytes) {
    this.#drawn = Math.min(this.#drawn + bytes, this.#want);
  }

  /** Types; `false` when too much waits already, and then nothing of it is sent. While another has
   * the right to type, it goes nowhere: it does not come to run later. */
  type(bytes) {
    if (this.#came && !this.#mayType && this.#end === null) return true;
    if (this.#end !== null || this.#input.length + bytes.length > MOST_INPUT) return false;
    const joined = new Uint8Array(this.#input.length + bytes.length);
    joined.set(this.#input);
    joined.set(bytes, this.#input.length);
    this.#input = joined;
    return true;
  }

  resize(cols, rows) {
    if (cols === this.#size[0] && rows === this.#size[1]) return;
    this.#size = [cols, rows];
    this.#sizeSent = false;
  }

  /** Ends the session. */
  close() {
    this.#ending = true;
  }

  #joined(ready) {
    if (this.#connected) throw new ProtocolError("a second READY");
    if (ready.secret === null) {
      // Who looks on begins where the log does, each time.
      this.#want = this.#drawn = this.#acknowledged = ready.base;
      this.#mayType = false;
    } else {
      // What the page before this one typed is not known here.
      if (!this.#came) this.#taken = ready.inNext;
      const typed = this.#taken + this.#input.length;
      // Somebody else has typed: what waits here was meant for another state of the program.
      const isShared = ready.inOwn > this.#ownFrom || ready.inNext > typed;
      if (isShared || (this.#came && !this.#mayType)) this.#typeAnewAt(ready.inNext);
      this.#ownFrom = Math.max(this.#ownFrom, ready.inOwn);
      this.#mayType = true;
      this.#sent = Math.max(ready.inNext, this.#taken);
    }
    // It may have been set while nobody listened.
    this.#sizeSent = false;
    const first = !this.#came;
    this.#came = true;
    this.#ready = ready;
    this.#connected = true;
    return { type: "ready", first };
  }

  /** Drops what waits to be sent; the next input is this offset's. */
  #typeAnewAt(offset) {
    this.#input = new Uint8Array();
    this.#taken = this.#sent = offset;
  }

  /** Output up to `offset` will not come, and need not be drawn. */
  #skip(offset) {
    const undrawn = this.undrawn;
    this.#want = offset;
    // What still waits to be drawn is reported later, and must not reach beyond what was sent.
    this.#drawn = offset - undrawn;
    this.#acknowledged = Math.min(this.#acknowledged, this.#drawn);
  }
}
