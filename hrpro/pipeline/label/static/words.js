// What several parts of the page say.

/** After what can be taken back. */
export const UNDO = "(Z: undo)";
