// Press, drag, release with mouse, pen or finger.

const SLACK_PX = 3; // less than this is a click with an unsteady hand

/**
 * @param begin called with the pointerdown event; returns what to do with the drag:
 *   `move(event)`, `end(event)`, `cancel()`; with `start: true` the press itself is a move
 */
export function drag(element, begin) {
  element.addEventListener("pointerdown", (down) => {
    if (down.button !== 0 || !down.isPrimary) return;
    down.preventDefault(); // neither text selection nor focus
    const handler = begin(down);
    if (!handler) return;
    let moving = Boolean(handler.start);
    if (moving) handler.move(down);
    element.setPointerCapture(down.pointerId);
    const stop = new AbortController();
    const listen = (name, listener) =>
      element.addEventListener(name, listener, { signal: stop.signal });
    listen("pointermove", (event) => {
      moving ||= Math.abs(event.clientX - down.clientX) > SLACK_PX;
      if (moving) handler.move(event);
    });
    listen("pointerup", (event) => {
      stop.abort();
      if (moving) handler.end?.(event);
    });
    listen("pointercancel", () => {
      stop.abort();
      handler.cancel?.();
    });
  });
}
