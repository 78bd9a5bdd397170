// Fills dist/ with what the gateway serves: our own modules as they are, and
// xterm's with their licences. Nothing is bundled: browsers load modules.
import { cp, mkdir, rm } from "node:fs/promises";

const here = new URL("./", import.meta.url);
const dist = new URL("dist/", here);
const xterm = (path) => new URL(`node_modules/@xterm/${path}`, here);

const files = [
  ["index.html", new URL("src/index.html", here)],
  ["page.css", new URL("src/page.css", here)],
  ["page.mjs", new URL("src/page.mjs", here)],
  ["frames.mjs", new URL("src/frames.mjs", here)],
  ["session.mjs", new URL("src/session.mjs", here)],
  ["link.mjs", new URL("src/link.mjs", here)],
  ["kept.mjs", new URL("src/kept.mjs", here)],
  ["xterm.mjs", xterm("xterm/lib/xterm.mjs")],
  ["xterm.css", xterm("xterm/css/xterm.css")],
  ["addon-fit.mjs", xterm("addon-fit/lib/addon-fit.mjs")],
  ["addon-serialize.mjs", xterm("addon-serialize/lib/addon-serialize.mjs")],
  ["addon-unicode11.mjs", xterm("addon-unicode11/lib/addon-unicode11.mjs")],
  ["LICENSE.xterm", xterm("xterm/LICENSE")],
];

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
for (const [name, from] of files) {
  await cp(from, new URL(name, dist));
}
console.log(`dist: ${files.length} files`);
