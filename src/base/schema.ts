/**
 * Schemas of the configurations: what is allowed at each key, in words, and a reader that reports every problem at once.
 *
 * Written here and not taken from a library because jailor reads a configuration each time that a sandbox starts: loading
 * zod costs 30 to 45 ms there, a third of what the start may take.
 */

export type Path = readonly (string | number)[];

/** Something in a configuration that is not allowed. `at` says which token a position should point to. */
export type Problem = {
  readonly path: Path;
  readonly at: 'value' | 'key';
  /** What was found, in a few words: `70000`, `a list`, `missing`. */
  readonly found: string;
  /** What is allowed there, or what is wrong with it. */
  readonly allowed: string;
};

export type Report = (problem: Problem) => void;

/** A schema of json-schema.org, draft 7: what editors understand. It may allow more than `read` does, never less. */
export type JsonSchema = { readonly [keyword: string]: unknown };

export type Schema<T> = {
  /** What is allowed, as it stands in an error message and in the documentation. */
  readonly allowed: string;
  /** The same for editors, of this value alone; the keys of a mapping are those of `shape`. */
  readonly json: JsonSchema;
  /** The value in its final form, or undefined after at least one problem was reported. */
  read(value: unknown, path: Path, report: Report): T | undefined;
  /** The keys of a mapping, so that the documentation can be checked against them. */
  readonly shape?: Shape;
  /** What a list or a mapping of names holds. */
  readonly inner?: readonly Schema<unknown>[];
};

export type Field<T = unknown> = {
  readonly schema: Schema<T>;
  readonly presence: 'required' | 'optional';
  /** Stands in where the key is absent. */
  readonly fallback?: T;
};
export type Required<T> = Field<T> & { readonly presence: 'required' };
export type Optional<T> = Field<T> & { readonly presence: 'optional' };

export type Shape = Readonly<Record<string, Field>>;

type FieldValue<F> = F extends Field<infer T> ? T : never;
type RequiredKeys<S extends Shape> = { [K in keyof S]: S[K]['presence'] extends 'required' ? K : never }[keyof S];
export type ObjectOf<S extends Shape> = { readonly [K in RequiredKeys<S>]: FieldValue<S[K]> } & {
  readonly [K in Exclude<keyof S, RequiredKeys<S>>]?: FieldValue<S[K]>;
};

/** A key that is always there after reading: it must be given, or has a default. */
export function required<T>(schema: Schema<T>, fallback?: NoInfer<T>): Required<T> {
  return { schema, presence: 'required', ...(fallback === undefined ? {} : { fallback }) };
}

export function optional<T>(schema: Schema<T>): Optional<T> {
  return { schema, presence: 'optional' };
}

const SHOWN_CHARACTERS = 60;

/** A value in a few words, whatever it is and however large. */
function describeValue(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'empty';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return Object.keys(value).length === 0 ? 'an empty mapping' : 'a mapping';
  if (typeof value !== 'string') return String(value);
  const shown = value.length > SHOWN_CHARACTERS ? `${value.slice(0, SHOWN_CHARACTERS)}…` : value;
  return JSON.stringify(shown);
}

/** Text of which `accepts` holds. @param pattern of all that is accepted, and perhaps more. */
export function text(
  allowed: string,
  accepts: (value: string) => boolean = () => true,
  pattern?: string,
): Schema<string> {
  return refined(allowed, (value) => (typeof value === 'string' && accepts(value) ? value : undefined), {
    type: 'string',
    ...(pattern === undefined ? {} : { pattern }),
  });
}

export function wholeNumber(least: number, most: number, what = 'a whole number'): Schema<number> {
  const allowed = `${what} from ${least} to ${most}`;
  return refined(
    allowed,
    (value) =>
      typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most ? value : undefined,
    { type: 'integer', minimum: least, maximum: most },
  );
}

export function flag(): Schema<boolean> {
  return refined('true or false', (value) => (typeof value === 'boolean' ? value : undefined), { type: 'boolean' });
}

export function oneOf<const T extends string | number>(...values: readonly T[]): Schema<T> {
  const allowed = values.length === 1 ? String(values[0]) : values.join(' or ');
  return refined(allowed, (value) => values.find((known) => known === value), { enum: values });
}

/** A single value; `convert` gives it its final form, or undefined if it is not allowed. */
export function refined<T>(allowed: string, convert: (value: unknown) => T | undefined, json: JsonSchema): Schema<T> {
  return {
    allowed,
    json,
    read(value, path, report) {
      const result = convert(value);
      if (result === undefined) report({ path, at: 'value', found: describeValue(value), allowed });
      return result;
    },
  };
}

export function list<T>(item: Schema<T>): Schema<readonly T[]> {
  const allowed = `a list; each item is ${item.allowed}`;
  return {
    allowed,
    json: { type: 'array' },
    inner: [item],
    read(value, path, report) {
      if (!Array.isArray(value)) {
        report({ path, at: 'value', found: describeValue(value), allowed });
        return undefined;
      }
      const items = value.map((entry: unknown, index) => item.read(entry, [...path, index], report));
      return items.every((entry) => entry !== undefined) ? items : undefined;
    },
  };
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A mapping from names of the reader's choice. */
export function mapping<T>(keyAllowed: string, accepts: (key: string) => boolean, item: Schema<T>) {
  const allowed = `a mapping from ${keyAllowed} to ${item.allowed}`;
  const schema: Schema<Readonly<Record<string, T>>> = {
    allowed,
    json: { type: 'object' },
    inner: [item],
    read(value, path, report) {
      if (!isMapping(value)) {
        report({ path, at: 'value', found: describeValue(value), allowed });
        return undefined;
      }
      const entries: [string, T][] = [];
      for (const [key, entry] of Object.entries(value)) {
        const at = [...path, key];
        if (!accepts(key)) report({ path: at, at: 'key', found: describeValue(key), allowed: keyAllowed });
        const result = item.read(entry, at, report);
        if (accepts(key) && result !== undefined) entries.push([key, result]);
      }
      return entries.length === Object.keys(value).length ? Object.fromEntries(entries) : undefined;
    },
  };
  return schema;
}

/** A mapping with these keys and no others. */
export function object<S extends Shape>(what: string, shape: S): Schema<ObjectOf<S>> {
  const known = Object.keys(shape);
  const allowed = `${what} (a mapping with ${known.join(', ')})`;
  return {
    allowed,
    json: { type: 'object' },
    shape,
    read(value, path, report) {
      if (!isMapping(value)) {
        report({ path, at: 'value', found: describeValue(value), allowed });
        return undefined;
      }
      let complete = true;
      const fail: Report = (problem) => {
        complete = false;
        report(problem);
      };
      for (const key of Object.keys(value)) {
        if (Object.hasOwn(shape, key)) continue;
        const near = known.find((name) => isNear(name, key));
        const guess = near === undefined ? '' : `; did you mean ${near}?`;
        fail({ path: [...path, key], at: 'key', found: 'unknown key', allowed: `one of ${known.join(', ')}${guess}` });
      }
      const entries: [string, unknown][] = [];
      for (const [key, field] of Object.entries(shape)) {
        const given = Object.hasOwn(value, key) ? value[key] : undefined;
        if (given !== undefined) {
          entries.push([key, field.schema.read(given, [...path, key], fail)]);
        } else if (field.fallback !== undefined) {
          entries.push([key, field.fallback]);
        } else if (field.presence === 'required') {
          fail({ path: [...path, key], at: 'value', found: 'missing', allowed: field.schema.allowed });
        }
      }
      // Every entry was read by the schema of its key, and none is missing.
      return complete ? (Object.fromEntries(entries) as ObjectOf<S>) : undefined;
    },
  };
}

/** Text in short form, a mapping in long form. `expand` gives both the same form. */
export function shortOrLong<S, L>(short: Schema<S>, long: Schema<L>, expand: (short: S) => L): Schema<L> {
  const allowed = `${short.allowed}, or ${long.allowed}`;
  return {
    allowed,
    json: { anyOf: [short.json] },
    inner: [long],
    read(value, path, report) {
      if (isMapping(value)) return long.read(value, path, report);
      const result = short.read(value, path, (problem) => report({ ...problem, allowed }));
      return result === undefined ? undefined : expand(result);
    },
  };
}

/** One letter wrong, missing, too much or swapped; or the same but for case, `_` and `-`. */
function isNear(name: string, typed: string): boolean {
  const plain = (word: string): string => word.toLowerCase().replaceAll(/[-_]/g, '');
  if (plain(name) === plain(typed)) return true;
  if (Math.abs(name.length - typed.length) > 1 || name.length < 3) return false;
  let start = 0;
  while (start < name.length && name[start] === typed[start]) start++;
  let end = 0;
  while (end < Math.min(name.length, typed.length) - start && name.at(-1 - end) === typed.at(-1 - end)) end++;
  const left = name.slice(start, name.length - end);
  const right = typed.slice(start, typed.length - end);
  return (
    (left.length <= 1 && right.length <= 1) ||
    (left.length === 2 && left === `${right[1]}${right[0]}` && right.length === 2)
  );
}
