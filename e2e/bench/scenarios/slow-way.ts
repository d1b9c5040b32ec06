// Passes connections on to a server of this machine, and holds back what passes, in each direction: the way to a server
// that is far away. A program of its own, so that it takes no time of the browser's core.
//
//   node --import tsx e2e/bench/scenarios/slow-way.ts URL MS
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

const [url = "", delay = ""] = process.argv.slice(2);
const port = Number(new URL(url).port);
const delayMs = Number(delay);

/** Passes on what arrives, and the end. */
function passOn(from: Socket, to: Socket): void {
  const later = (act: () => void): void => {
    setTimeout(() => {
      if (!to.destroyed) act();
    }, delayMs);
  };
  from.setNoDelay(true);
  from
    .on("data", (part: Buffer) => {
      later(() => to.write(part));
    })
    .on("end", () => {
      later(() => to.end());
    })
    .on("error", () => undefined)
    .on("close", () => {
      later(() => to.destroy());
    });
}

const server = createServer((near) => {
  const far = connect(port, "127.0.0.1");
  passOn(near, far);
  passOn(far, near);
});
server.listen(0, "127.0.0.1", () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
