/** Lengths of time for people to read. */

/** e.g. 2d 03h 20m */
export function span(milliseconds: number): string {
  const minutes = Math.round(milliseconds / 60_000);
  const [days, hours] = [Math.floor(minutes / 1440), Math.floor(minutes / 60) % 24];
  const two = (value: number): string => String(value).padStart(2, "0");
  const rest = `${two(minutes % 60)}m`;
  return days > 0 ? `${days}d ${two(hours)}h ${rest}` : hours > 0 ? `${hours}h ${rest}` : `${minutes}m`;
}
