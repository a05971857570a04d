// Where everything stands. Each scope is laid out in layers along its links, then the scopes
// are packed in rows. Nothing here knows of SVG; sizes are in units of the picture.

export const WIDTH = 176, HEIGHT = 62;
const ALONG = 92, ACROSS = 20, PADDING = 18, TITLE = 30, BETWEEN = 44;
const TALLEST = 9; // nodes in a layer, until it is broken in two

/** -> {width, height, nodes: id -> {x, y}, scopes: [{name, x, y, width, height}], down} */
export function layOut(scopes, links, room, down) {
  const boxes = [...scopes].map(([name, nodes]) => layOutScope(name, nodes, links, down));
  const area = boxes.reduce((a, b) => a + (b.width + BETWEEN) * (b.height + BETWEEN), 0);
  const widest = Math.max(...boxes.map((b) => b.width), 0);
  const limit = Math.max(widest, Math.min(Math.sqrt(area * room) * 1.08, down ? widest : Infinity));
  const nodes = new Map();
  let x = 0, y = 0, tallest = 0, width = 0;
  for (const box of boxes) {
    if (x > 0 && x + box.width > limit) { x = 0; y += tallest + BETWEEN; tallest = 0; }
    box.x = x; box.y = y;
    for (const [id, at] of box.nodes) nodes.set(id, { x: x + at.x, y: y + at.y });
    x += box.width + BETWEEN;
    width = Math.max(width, x - BETWEEN);
    tallest = Math.max(tallest, box.height);
  }
  return { width, height: y + tallest, nodes, scopes: boxes, down };
}

function layOutScope(name, nodes, links, down) {
  const inside = new Set(nodes.map((n) => n.id));
  const next = new Map(nodes.map((n) => [n.id, []])), before = new Map(nodes.map((n) => [n.id, []]));
  for (const { from, to } of links) {
    if (from !== to && inside.has(from) && inside.has(to)) { next.get(from).push(to); before.get(to).push(from); }
  }
  const lonely = nodes.map((n) => n.id).filter((id) => !next.get(id).length && !before.get(id).length);
  const layers = order(rank(nodes.map((n) => n.id), next, before), next, before);
  const linked = layers.map((layer) => layer.filter((id) => !lonely.includes(id))).filter((l) => l.length);
  const most = down ? 3 : TALLEST;
  const columns = linked.flatMap((layer) => split(layer, most));
  const across = Math.max(...columns.map((c) => c.length), 0);
  const steps = down ? [HEIGHT + ALONG * 0.6, WIDTH + ACROSS] : [WIDTH + ALONG, HEIGHT + ACROSS];
  const at = new Map();
  const put = (id, along, side) => at.set(id, down ? { x: PADDING + side, y: TITLE + along } : { x: PADDING + along, y: TITLE + side });
  columns.forEach((column, i) => {
    const start = (across - column.length) / 2;
    column.forEach((id, j) => put(id, i * steps[0], (start + j) * steps[1]));
  });
  const wide = down ? Math.max(across, Math.min(2, lonely.length)) : Math.max(columns.length, Math.ceil(Math.sqrt(lonely.length)));
  const below = columns.length ? (down ? columns.length * steps[0] : across * steps[1]) : 0;
  const stepX = WIDTH + (down || !columns.length ? ACROSS : ALONG);
  lonely.forEach((id, i) => at.set(id, { x: PADDING + (i % wide) * stepX, y: TITLE + below + Math.floor(i / wide) * (HEIGHT + ACROSS) }));
  const right = Math.max(...[...at.values()].map((p) => p.x)), bottom = Math.max(...[...at.values()].map((p) => p.y));
  return { name, nodes: at, width: right + WIDTH + PADDING, height: bottom + HEIGHT + PADDING };
}

function split(layer, most) {
  const parts = Math.ceil(layer.length / most), size = Math.ceil(layer.length / parts);
  return Array.from({ length: parts }, (_, i) => layer.slice(i * size, (i + 1) * size));
}

/** Longest path from a source; links that close a cycle are passed over. */
function rank(ids, next, before) {
  const depth = new Map(), open = new Set();
  const visit = (start) => {
    const stack = [[start, 0]];
    open.add(start);
    while (stack.length) {
      const top = stack[stack.length - 1];
      const follower = next.get(top[0])[top[1]++];
      if (follower === undefined) { open.delete(top[0]); finished.push(top[0]); stack.pop(); }
      else if (!seen.has(follower)) { seen.add(follower); open.add(follower); stack.push([follower, 0]); }
      else if (open.has(follower)) back.add(`${top[0]} ${follower}`);
    }
  };
  const seen = new Set(), finished = [], back = new Set();
  for (const id of [...ids.filter((i) => !before.get(i).length), ...ids]) if (!seen.has(id)) { seen.add(id); visit(id); }
  for (const id of finished.reverse()) {
    const from = before.get(id).filter((b) => !back.has(`${b} ${id}`)).map((b) => depth.get(b) ?? 0);
    depth.set(id, from.length ? Math.max(...from) + 1 : 0);
  }
  const layers = [];
  for (const id of ids) (layers[depth.get(id)] ??= []).push(id);
  return Array.from(layers, (layer) => layer ?? []);
}

/** Fewer crossings: each node near the middle of those that it is linked with. */
function order(layers, next, before) {
  const place = new Map();
  const note = (layer) => layer.forEach((id, i) => place.set(id, i / Math.max(1, layer.length - 1)));
  layers.forEach(note);
  for (let sweep = 0; sweep < 4; sweep++) {
    const neighbours = sweep % 2 ? next : before;
    for (const layer of sweep % 2 ? [...layers].reverse() : layers) {
      const middle = new Map(layer.map((id) => {
        const around = neighbours.get(id);
        return [id, around.length ? around.reduce((a, n) => a + place.get(n), 0) / around.length : place.get(id)];
      }));
      layer.sort((a, b) => middle.get(a) - middle.get(b));
      note(layer);
    }
  }
  return layers;
}
