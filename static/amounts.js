// Numbers as people read them.

/** Return extents, such as `197 × 233 × 189`. */
export const times = (numbers) => numbers.join(" × ");

/** Return `1 dataset` or `2 datasets`; noun: without the s. */
export const counted = (count, noun) => `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;

/** Return a whole number with commas between thousands. */
export const grouped = (count) => Math.round(count).toLocaleString("en");

/** Return lengths given in nm along x, y, z in one unit, such as `4 × 4 × 40 nm`. */
export function lengths(nanometres) {
  const smallest = Math.min(...nanometres);
  const [unit, factor] = smallest >= 1e5 ? ["mm", 1e6] : smallest >= 100 ? ["µm", 1e3] : ["nm", 1];
  return `${times(nanometres.map((length) => Number((length / factor).toPrecision(6))))} ${unit}`;
}

/** Return a number of bytes with three digits, such as `12.3 MB`. */
export const bytes = (count) => (count < 999.5 ? `${Math.round(count)} bytes` : amount(count, "B"));

/** Return a number with its unit and three digits, such as `1.05 Mvoxels`. */
export function amount(number, unit) {
  const prefixes = ["", "k", "M", "G", "T", "P"];
  let value = number;
  while (Math.abs(value) >= 999.5 && prefixes.length > 1) {
    value /= 1000;
    prefixes.shift();
  }
  return `${Number(value.toPrecision(3))} ${prefixes[0]}${unit}`;
}

/** Return a time such as `0.8 s`, `12 s`, `3 min 20 s` or `2 h 05 min`. */
export function duration(seconds) {
  if (seconds < 9.95) return `${Math.max(0, seconds).toFixed(1)} s`;
  const whole = Math.round(seconds);
  const two = (number) => String(number).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

/** Return how long ago a time lies, such as `just now` or `5 min ago`; both in seconds since 1970. */
export function ago(time, now = Date.now() / 1000) {
  const seconds = now - time;
  if (seconds < 45) return "just now";
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h ago`;
  return new Date(time * 1000).toLocaleDateString(undefined, { day: "numeric", month: "short", year: "numeric" });
}
