// The largest tiles that fit an area: how many side by side, how wide, of which shape.

const WIDE = 16 / 9, NARROW_AREA = 600; // px
const GAP = 10; // px, as in room.css
const LARGEST = 960, SMALLEST = 150; // px, of a tile's width

/** For so many tiles in an area of width by height (px): columns, size (px, its width) and shape (width by height). */
export function fit(tiles, width, height) {
  const tallest = width < NARROW_AREA ? 3 / 4 : 4 / 3; // on a phone upright, faces matter more than the room behind
  const ways = [];
  for (let columns = 1; columns <= Math.max(1, tiles); columns++) {
    const rows = Math.ceil(tiles / columns) || 1;
    const wide = (width - GAP * (columns - 1)) / columns, high = (height - GAP * (rows - 1)) / rows;
    const shape = Math.min(WIDE, Math.max(tallest, wide / high));
    ways.push({ columns, shape, size: Math.floor(Math.min(wide, high * shape, LARGEST)) });
  }
  const area = ({ size, shape }) => (size * size) / shape;
  const best = ways.reduce((a, b) => (area(b) > area(a) ? b : a));
  if (best.size >= SMALLEST) return best;
  const columns = Math.max(1, Math.floor((width + GAP) / (SMALLEST + GAP))); // then it scrolls
  return { columns, shape: tallest, size: Math.floor((width - GAP * (columns - 1)) / columns) };
}

/** Keeps the custom properties --columns, --size and --shape of a list right as its size and its items change. */
export function keepFitting(list) {
  const update = () => {
    const { columns, size, shape } = fit(list.childElementCount, list.clientWidth, list.clientHeight);
    list.style.setProperty("--columns", columns);
    list.style.setProperty("--size", `${size}px`);
    list.style.setProperty("--shape", shape);
  };
  new ResizeObserver(update).observe(list);
  new MutationObserver(update).observe(list, { childList: true });
}
