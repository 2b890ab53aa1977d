// The list of rooms: search, filter by outcome, sort, and show 100 rooms at a time. The names of rooms are text of any
// origin, so they are set as `textContent` only, never as HTML.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { rooms, outcomes, changes } = data;
  const PAGE = 100, PRINTED = 200, NAME = 0, ID = 1, OUTCOME = 2, CHANGE = 3;
  const element = (id) => document.getElementById(id);
  const body = element("rows"), search = element("search"), filter = element("filter"), count = element("count");
  const back = element("back"), next = element("next"), note = element("printed");
  const number = (value) => value.toLocaleString("en-US");
  let shown = [], page = 0, sorted = { key: -1, sign: 1 }, texts = null, timer = 0;

  const hasReasons = outcomes.some((outcome) => outcome[2]), hasChanges = changes.length > 1;

  const text = (room) => (room[NAME] === null ? "" : room[NAME]);
  const keys = [
    (room) => text(room).toLowerCase(),
    (room) => room[ID],
    (room) => outcomes[room[OUTCOME]][0],
    ...(hasReasons ? [(room) => outcomes[room[OUTCOME]][2]] : []),
    ...(hasChanges ? [(room) => changes[room[CHANGE]]] : []),
  ]; // one for each column

  function cell(row, value, kind, name) {
    const td = row.insertCell();
    if (kind) td.className = kind;
    if (name) td.dataset.name = name;
    const isolated = document.createElement("bdi"); // a name may be written from right to left
    isolated.textContent = value;
    if (value) td.append(isolated);
    return td;
  }

  function draw(first, last) {
    body.replaceChildren();
    for (const room of shown.slice(first, last)) {
      const row = body.insertRow(), [name, kind, reason] = outcomes[room[OUTCOME]];
      cell(row, room[NAME] === null ? "(no name)" : room[NAME], room[NAME] === null ? "muted" : "");
      cell(row, room[ID], "id");
      cell(row, name, "state " + kind);
      if (hasReasons) cell(row, reason, "", "why");
      if (hasChanges) cell(row, changes[room[CHANGE]], "", "change");
    }
  }

  function render() {
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    const first = page * PAGE, last = Math.min(first + PAGE, shown.length);
    draw(first, last);
    const all = shown.length === rooms.length ? "" : ` (of ${number(rooms.length)})`;
    count.textContent = shown.length
      ? `Rooms ${number(first + 1)} to ${number(last)} of ${number(shown.length)}${all}`
      : `No room matches (of ${number(rooms.length)})`;
    back.disabled = page === 0;
    next.disabled = page === pages - 1;
  }

  function select() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean), state = filter.value;
    if (words.length && texts === null) {
      texts = rooms.map((room) => `${text(room)}\n${room[ID]}\n${outcomes[room[OUTCOME]][0]}\n${outcomes[room[OUTCOME]][2]}`.toLowerCase());
    }
    const matching = [];
    for (let place = 0; place < rooms.length; place++) {
      if (state && outcomes[rooms[place][OUTCOME]][0] !== state) continue;
      if (words.every((word) => texts[place].includes(word))) matching.push(rooms[place]);
    }
    if (sorted.key >= 0) {
      const key = keys[sorted.key], pairs = matching.map((room) => [key(room), room]);
      pairs.sort((a, b) => (a[0] < b[0] ? -sorted.sign : a[0] > b[0] ? sorted.sign : 0));
      shown = pairs.map((pair) => pair[1]);
    } else {
      shown = matching;
    }
    page = 0;
    render();
  }

  for (const name of new Set(outcomes.map((outcome) => outcome[0]))) {
    filter.add(new Option(name, name));
  }
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(select, 120);
  });
  filter.addEventListener("change", select);
  back.addEventListener("click", () => { page--; render(); });
  next.addEventListener("click", () => { page++; render(); });
  document.querySelectorAll("#rooms th button").forEach((button, key) => {
    button.addEventListener("click", () => {
      sorted = { key, sign: sorted.key === key ? -sorted.sign : 1 };
      document.querySelectorAll("#rooms th").forEach((th) => th.removeAttribute("aria-sort"));
      button.parentElement.setAttribute("aria-sort", sorted.sign > 0 ? "ascending" : "descending");
      select();
    });
  });
  window.addEventListener("beforeprint", () => {
    draw(0, PRINTED);
    note.hidden = shown.length <= PRINTED;
    note.textContent = `${number(PRINTED)} of ${number(shown.length)} rooms are printed. Search to print others.`;
    count.hidden = true;
  });
  window.addEventListener("afterprint", () => { note.hidden = true; count.hidden = false; render(); });
  element("list").hidden = false;
  select();
})();
