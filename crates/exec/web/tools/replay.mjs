// Whether a terminal that was shown a redraw and the rest is as one that saw everything. Cases come
// as JSON on stdin, bytes in base64; the last line says how many there were. Run by a Rust test.
import { text } from "node:stream/consumers";
import headless from "@xterm/headless";
import unicode11 from "@xterm/addon-unicode11";

const NO_PEN = "0,-1,0,-1,0,0,0,0";

function terminal(cols, rows, scrollback) {
  // The model keeps lines that xterm.js drops: those that DL, ED or SU take from the top.
  const from = (buffer) => (scrollback ? 0 : buffer.baseY);
  const made = new headless.Terminal({ cols, rows, scrollback: 500, allowProposedApi: true });
  made.loadAddon(new unicode11.Unicode11Addon());
  made.unicode.activeVersion = "11";
  const write = (base64) => new Promise((done) => made.write(Buffer.from(base64, "base64"), done));
  // What is seen: a blank that was erased in a colour is as one that was printed in it.
  const cells = (buffer, at) => {
    const line = buffer.getLine(at);
    const seen = [];
    for (let x = 0; x < cols; x += 1) {
      const cell = line.getCell(x);
      const pen = [cell.getFgColorMode(), cell.getFgColor(), cell.getBgColorMode(), cell.getBgColor(), cell.isBold(),
        cell.isItalic(), cell.isUnderline(), cell.isInverse()].map(Number).join();
      seen.push(`${cell.getChars() || " "}${pen === NO_PEN ? "" : `<${pen}>`}`);
    }
    return seen.join("").trimEnd();
  };
  const state = () => {
    const all = (buffer) => Array.from({ length: buffer.length - from(buffer) }, (_, at) => cells(buffer, from(buffer) + at));
    const { active, normal, alternate } = made.buffer;
    return Object.entries({
      type: active.type, cursor: [active.cursorX, active.cursorY], normal: all(normal),
      alternate: active.type === "alternate" ? all(alternate) : [], modes: Object.entries(made.modes),
    }).flatMap(([name, value]) => [value].flat().map((part, at) => `${name} ${at}: ${part}`));
  };
  return { write, state };
}

const cases = JSON.parse(await text(process.stdin));
let wrong = 0;
for (const { cols, rows, scrollback, before, redraw, after } of cases) {
  const whole = terminal(cols, rows, scrollback);
  await whole.write(before);
  await whole.write(after);
  const late = terminal(cols, rows, scrollback);
  await late.write(Buffer.from("\x1b[31mother\x1b[?2004h\x1b[2;3r").toString("base64"));
  await late.write(redraw);
  await late.write(after);
  const [seen, shown] = [whole.state(), late.state()];
  const differs = seen.findIndex((part, at) => part !== shown[at]);
  if (differs >= 0 || seen.length !== shown.length) {
    wrong += 1;
    if (wrong <= 3) {
      const plain = (base64) => JSON.stringify(Buffer.from(base64, "base64").toString());
      console.log(`${cols}x${rows}: ${plain(before)} then ${plain(after)}\n  redraw ${plain(redraw)}\n  ${seen.at(differs)}\n  ${shown.at(differs)}`);
    }
  }
}
console.log(`${cases.length} cases, ${wrong} wrong`);
