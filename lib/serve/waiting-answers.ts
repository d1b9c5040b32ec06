// Answers that wait behind others on their connection: a client may send requests ahead. Node assigns such an answer no
// connection before its turn, so it gets no event "close" where the client leaves. This emits one: by that event all
// that a request holds is released, and its run is cancelled.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** The answers of a server that are not sent yet, by connection. */
export class WaitingAnswers {
  readonly #waiting: WeakMap<Socket, Set<ServerResponse>> = new WeakMap();

  /** Closes an answer with its connection. */
  track({ socket }: IncomingMessage, response: ServerResponse): void {
    const waiting = this.#waiting.get(socket) ?? this.#of(socket);
    for (const before of waiting) if (before.writableFinished) waiting.delete(before);
    waiting.add(response);
  }

  #of(socket: Socket): Set<ServerResponse> {
    const waiting = new Set<ServerResponse>();
    this.#waiting.set(socket, waiting);
    socket.once("close", () => {
      for (const response of waiting) {
        // Node closes the one that has the connection.
        if (response.socket !== null || response.writableFinished) continue;
        response.destroy();
        response.emit("close");
      }
    });
    return waiting;
  }
}
