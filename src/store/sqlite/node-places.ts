/**
 * Remembers the number of each node's row, so that a check-in reads one page of the table and none of the index: with a
 * million nodes neither stays in the cache. Whoever asks compares the row: what is remembered may be old, or another node's.
 * Some 10 bytes a node.
 */

/** Nodes that may have the same place. */
const WAYS = 4;
/** Beyond this share, places become rare. */
const MOST_FILLED = 0.6;
const SMALLEST = 1_024;
/** For five million nodes, 40 MiB. Numbers go on where nodes come and go for years: those are not worth more. */
const LARGEST = 2 ** 23;

export class NodePlaces {
  /** 0: free. */
  #numbers = new Uint32Array(SMALLEST);
  /** A few bits of the id: a row is seldom read in vain. */
  #marks = new Uint8Array(SMALLEST);
  #nextVictim = 0;

  /** The number that the node's row had when it was last read; 0: not known. */
  find(id: string, applicationNo: number): number {
    const hash = hashOf(id, applicationNo);
    const place = this.#placeOf(hash);
    const mark = hash & 0xff;
    for (let way = place; way < place + WAYS; way += 1) {
      if (this.#marks[way] === mark && this.#numbers[way] !== 0) return this.#numbers[way] ?? 0;
    }
    return 0;
  }

  remember(id: string, applicationNo: number, no: number): void {
    if (no > this.#numbers.length * MOST_FILLED && this.#numbers.length < LARGEST) this.#grow(no);
    const hash = hashOf(id, applicationNo);
    const way = this.#wayFor(this.#placeOf(hash), hash & 0xff);
    this.#numbers[way] = no;
    this.#marks[way] = hash & 0xff;
  }

  /** That of the same mark, or a free one, or somebody's. */
  #wayFor(place: number, mark: number): number {
    let free = -1;
    for (let way = place; way < place + WAYS; way += 1) {
      if (this.#numbers[way] === 0) free = way;
      else if (this.#marks[way] === mark) return way;
    }
    if (free !== -1) return free;
    this.#nextVictim = (this.#nextVictim + 1) % WAYS;
    return place + this.#nextVictim;
  }

  #placeOf(hash: number): number {
    return ((hash >>> 8) * WAYS) & (this.#numbers.length - 1);
  }

  /** Numbers count up: so many nodes there may be. All is forgotten, and comes back with the next check-ins. */
  #grow(no: number): void {
    let length = this.#numbers.length;
    while (no > length * MOST_FILLED && length < LARGEST) length *= 2;
    this.#numbers = new Uint32Array(length);
    this.#marks = new Uint8Array(length);
  }
}

/** 32 bits, FNV-1a with a last mixing step. Whoever makes ids that meet gains nothing: the others are looked up in the index. */
function hashOf(id: string, applicationNo: number): number {
  let hash = 0x811c9dc5 ^ applicationNo;
  for (let at = 0; at < id.length; at += 1) hash = Math.imul(hash ^ id.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  return (hash ^ (hash >>> 13)) >>> 0;
}
