/**
 * YAML as configer writes it, and most people: mappings and lists by indentation, one value a line. A parser of all of YAML
 * needs 15 ms to get going, a quarter of the time in which a sandbox is made; this one needs one. What it does not know it leaves
 * to the other, and so everything about which two readers could differ.
 */

/** Nothing that any reader takes for an end of line, for white space or for half a character. */
const KNOWN_TEXT = /^[\x20-\x7e\n]*$/;
const KEY = /^([A-Za-z_][A-Za-z0-9_.-]*):(?: (.+))?$/;
/** What can begin a value without a meaning of its own; what makes it end early is looked for besides. */
const PLAIN = /^(?:[A-Za-z0-9/_.]|-[^ ])/;
const ENDS_PLAIN = /: |:$| $|#|^-+$/;
const DOUBLE_QUOTED = /^"(?:[^"\\]|\\["\\nt])*"$/;
const SINGLE_QUOTED = /^'(?:[^']|'')*'$/;
/** The only number of configurations (config-text.ts). */
const NUMBER = /^(?:0|-?[1-9][0-9]{0,14})$/;
/** Read as something else by some or by all. */
const NO_TEXT = /^(?:null|true|false)$/i;
/** A mapping or list on one line, of values that have nothing of it in them. */
const FLOW = /^(?:\{[^{}[\]]*\}|\[[^{}[\]]*\])$/;
const FLOW_VALUE = /^(?:[A-Za-z0-9/_.-]+|"[^"\\,]*")$/;
const MAX_DEPTH = 16;
/** So that no pattern has much to look at. */
const MAX_LINE_CHARACTERS = 4096;

type Line = { readonly indent: number; readonly text: string };

/** Ends the reading: it is YAML of another kind, or none. */
class Unknown extends Error {}

/** @returns what a parser of YAML makes of the text; undefined: this one does not know. */
export function readPlainYaml(text: string): { readonly value: unknown } | undefined {
  if (!KNOWN_TEXT.test(text)) return undefined;
  try {
    return { value: new Reader(text).document() };
  } catch (thrown) {
    if (thrown instanceof Unknown) return undefined;
    throw thrown;
  }
}

class Reader {
  readonly #lines: Line[] = [];
  #at = 0;

  constructor(text: string) {
    for (const line of text.split('\n')) {
      if (line.length > MAX_LINE_CHARACTERS) throw new Unknown();
      const content = line.trimStart();
      if (content !== '' && !content.startsWith('#')) {
        this.#lines.push({ indent: line.length - content.length, text: content });
      }
    }
  }

  document(): unknown {
    const value = this.#mapping(0, 1);
    // Nothing may be left: what is indented in an unforeseen way goes on with the line before it, or is a mistake.
    if (this.#at < this.#lines.length) throw new Unknown();
    return value;
  }

  /** The line that comes next, if it is indented like this. */
  #next(indent: number): string | undefined {
    const line = this.#lines[this.#at];
    return line?.indent === indent ? line.text : undefined;
  }

  #mapping(indent: number, depth: number): Record<string, unknown> {
    const found: Record<string, unknown> = {};
    for (let text = this.#next(indent); text !== undefined; text = this.#next(indent)) {
      const [, key = '', value] = KEY.exec(text) ?? [];
      if (key === '' || NO_TEXT.test(key) || key in found) throw new Unknown();
      this.#at++;
      found[key] = value === undefined ? this.#block(indent, depth) : single(value);
    }
    if (Object.keys(found).length === 0) throw new Unknown();
    return found;
  }

  /** What stands below a key. */
  #block(outer: number, depth: number): unknown {
    const line = this.#lines[this.#at];
    if (line === undefined || line.indent <= outer || depth >= MAX_DEPTH) throw new Unknown();
    return line.text.startsWith('- ') ? this.#list(line.indent, depth + 1) : this.#mapping(line.indent, depth + 1);
  }

  #list(indent: number, depth: number): unknown[] {
    const found: unknown[] = [];
    for (let text = this.#next(indent); text !== undefined; text = this.#next(indent)) {
      if (!text.startsWith('- ')) throw new Unknown();
      const inner = text.slice(2);
      if (KEY.test(inner)) {
        // Its mapping begins behind the dash.
        this.#lines[this.#at] = { indent: indent + 2, text: inner };
        found.push(this.#mapping(indent + 2, depth + 1));
      } else {
        this.#at++;
        found.push(single(inner));
      }
    }
    return found;
  }
}

/** A value that is all on one line. */
function single(text: string): unknown {
  if (FLOW.test(text)) return flow(text);
  if (DOUBLE_QUOTED.test(text)) return JSON.parse(text);
  if (SINGLE_QUOTED.test(text)) return text.slice(1, -1).replaceAll("''", "'");
  if (!PLAIN.test(text) || ENDS_PLAIN.test(text)) throw new Unknown();
  return plain(text);
}

function plain(text: string): unknown {
  if (NUMBER.test(text)) return Number(text);
  if (text === 'true' || text === 'false') return text === 'true';
  if (NO_TEXT.test(text)) throw new Unknown();
  return text;
}

function flow(text: string): unknown {
  const inner = text.slice(1, -1);
  const parts = inner === '' ? [] : inner.split(', ');
  if (text.startsWith('[')) return parts.map(flowValue);
  const found: Record<string, unknown> = {};
  for (const part of parts) {
    const [, key = '', value = ''] = KEY.exec(part) ?? [];
    if (key === '' || NO_TEXT.test(key) || key in found) throw new Unknown();
    found[key] = flowValue(value);
  }
  return found;
}

function flowValue(text: string): unknown {
  if (!FLOW_VALUE.test(text)) throw new Unknown();
  return text.startsWith('"') ? text.slice(1, -1) : single(text);
}
