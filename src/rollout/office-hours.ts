import { DateTime, IANAZone } from "luxon";

/** Asked for every check-in of a group, and the same for a whole minute: kept for the minute. */
const kept = new Map<string, { minute: number; open: boolean }>();

/** Monday to Friday, 09:00 to 17:00 in the zone (an IANA name). In a zone that does not exist it is never open. */
export function inOfficeHours(timezone: string, now: number): boolean {
  const minute = Math.floor(now / 60_000);
  const known = kept.get(timezone);
  if (known?.minute === minute) return known.open;
  const open = IANAZone.isValidZone(timezone) && isOpen(DateTime.fromMillis(now, { zone: timezone }));
  if (kept.size > 1_000) kept.clear();
  kept.set(timezone, { minute, open });
  return open;
}

function isOpen({ weekday, hour }: DateTime): boolean {
  return weekday <= 5 && hour >= 9 && hour < 17;
}
