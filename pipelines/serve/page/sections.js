// Sections that the file of a note states, kept while the note is edited.

// Where sections of `before` lie in `after`, in code points. What differs is taken for one change:
// all between the common beginning and the common end. A section goes where its start or the end of
// its heading is within the change, or all of it.
export function moved(sections, before, after) {
  if (!sections.length || before === after) return sections;
  const old = Array.from(before), now = Array.from(after), most = Math.min(old.length, now.length);
  let same = 0, rest = 0;
  while (same < most && old[same] === now[same]) same += 1;
  while (rest < most - same && old.at(-1 - rest) === now.at(-1 - rest)) rest += 1;
  const last = old.length - rest;
  const place = (at) => (at >= last ? at + now.length - old.length : at <= same ? at : null);
  const kept = sections
    .filter(({ start, end }) => start < same || end > last)
    .map((one) => ({ ...one, start: place(one.start), heading_end: place(one.heading_end), end: place(one.end) }))
    .filter(({ start, heading_end }) => start !== null && heading_end !== null);
  return kept.map((one, i) => ({ ...one, end: one.end ?? kept[i + 1]?.start ?? now.length }));
}
