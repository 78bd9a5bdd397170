// The frames of `longshore.exec.v1`: a type byte and a body, integers big-endian.

export const SUBPROTOCOL = "longshore.exec.v1";

/** A session has fewer. */
const MOST_PEOPLE = 256;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** What the gateway sent is no frame. */
export class ProtocolError extends Error {}

const json = (type, value) => {
  const body = encoder.encode(JSON.stringify(value));
  const frame = new Uint8Array(1 + body.length);
  frame[0] = type;
  frame.set(body, 1);
  return frame;
};

const numbered = (type, offset, body = new Uint8Array()) => {
  const frame = new Uint8Array(9 + body.length);
  const view = new DataView(frame.buffer);
  view.setUint8(0, type);
  view.setBigUint64(1, BigInt(offset));
  frame.set(body, 9);
  return frame;
};

export const open = (request) => json(0x01, request);
export const resume = (request) => json(0x02, request);
export const input = (offset, bytes) => numbered(0x03, offset, bytes);
export const ack = (offset) => numbered(0x07, offset);
export const detach = () => Uint8Array.of(0x08);
export const end = () => Uint8Array.of(0x09);
export const ping = (token) => numbered(0x0a, token);
export const grant = (viewer) => numbered(0x0b, viewer);
export const takeBack = () => Uint8Array.of(0x0c);
export const resize = (cols, rows) => {
  const frame = new Uint8Array(5);
  const view = new DataView(frame.buffer);
  view.setUint8(0, 0x05);
  view.setUint16(1, cols);
  view.setUint16(3, rows);
  return frame;
};

/** Reads a frame of the gateway; a type from a later version gives `null`. */
export function decode(frame) {
  const bytes = new Uint8Array(frame);
  if (bytes.length === 0) throw new ProtocolError("an empty message");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const number = (at) => {
    if (bytes.length < at + 8) throw new ProtocolError("a frame is cut short");
    const value = view.getBigUint64(at);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new ProtocolError("an offset is too large");
    return Number(value);
  };
  const object = () => {
    let value;
    try {
      value = JSON.parse(decoder.decode(bytes.subarray(1)));
    } catch (error) {
      throw new ProtocolError(`a frame is no JSON: ${error.message}`);
    }
    if (typeof value !== "object" || value === null) throw new ProtocolError("a frame is no object");
    return value;
  };
  switch (bytes[0]) {
    case 0x81:
      return { type: "ready", ...ready(object()) };
    case 0x82:
      if (bytes.length < 10) throw new ProtocolError("a frame is cut short");
      return { type: "output", offset: number(1), stream: bytes[9], bytes: bytes.subarray(10) };
    case 0x83:
      return { type: "inputAck", offset: number(1) };
    case 0x84:
      return { type: "gap", from: number(1), to: number(9), cause: bytes[17] };
    case 0x85:
      return { type: "snapshot", offset: number(1), bytes: bytes.subarray(9) };
    case 0x86: {
      const exit = object();
      return { type: "exit", end: exit, outLen: whole(exit.out_len, "out_len") };
    }
    case 0x87: {
      const { level, code, text, in_next, people } = object();
      const notice = { type: "notice", level: String(level), code: String(code), text: String(text) };
      if (in_next != null) notice.inNext = whole(in_next, "in_next");
      if (code === "here") notice.people = (Array.isArray(people) ? people : []).slice(0, MOST_PEOPLE).map(person);
      return notice;
    }
    case 0x8a:
      return { type: "pong", token: number(1) };
    default:
      return null;
  }
}

/** Somebody at the session; the name is anybody's text. */
function person(value) {
  if (typeof value !== "object" || value === null) throw new ProtocolError("a person is no object");
  return {
    viewer: whole(value.viewer, "viewer"),
    name: typeof value.who === "string" ? value.who.slice(0, 128) : null,
    holds: value.holds === true,
    writes: value.writes === true,
    onlyLooks: value.looks === true,
    isYou: value.you === true,
  };
}

function ready(value) {
  return {
    session: String(value.session),
    secret: typeof value.secret === "string" ? value.secret : null,
    base: whole(value.base, "base"),
    head: whole(value.head, "head"),
    inNext: whole(value.in_next, "in_next"),
    inOwn: whole(value.in_own ?? 0, "in_own"),
    inWindow: whole(value.in_window, "in_window"),
  };
}

function whole(value, name) {
  if (!Number.isSafeInteger(value) || value < 0) throw new ProtocolError(`${name} is no offset`);
  return value;
}
