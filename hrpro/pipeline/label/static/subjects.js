// "Who?": the question after a point or an interval, where the dataset has subjects. One more key.

const KEYS = "123456789abcdefghqrstuvwy";

/** The subjects with their keys, `{name, key}`. */
export const subjectKeys = (subjects) =>
  subjects.map((name, index) => ({ name, key: KEYS[index] ?? null }));

export class SubjectQuestion {
  /** @param answered called with what was asked about, `{kind, id}`, and the subject or null */
  constructor(store, answered) {
    Object.assign(this, { store, answered, about: null });
  }

  get open() {
    return this.about !== null;
  }

  /** Ask about an item; one question at a time. */
  ask(kind, id) {
    if (this.store.data.subjects.length) this.about = { kind, id, video: this.store.confirmed.id };
  }

  drop() {
    this.about = null;
  }

  /** Take a key for the answer; returns whether it was one. */
  press(key) {
    if (!this.open) return false;
    if (this.about.video !== this.store.confirmed?.id) {
      this.drop();
      return false;
    }
    if (key === "Escape") {
      this.answer(null);
      return true;
    }
    const found = subjectKeys(this.store.data.subjects).find((each) => each.key === key);
    if (found) this.answer(found.name);
    return Boolean(found);
  }

  answer(subject) {
    const { about } = this;
    this.drop();
    this.answered(about, subject);
  }
}
