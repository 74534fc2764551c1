/** From the text of a configuration (YAML or JSON) to a checked value; errors say file, line, column, key and value. */
import type { Document, LineCounter, Node } from 'yaml';
import { findExcess } from './config-text-limits.ts';
import { ComicranError, messageOf } from './errors.ts';
import { placeIn, repeatedKey } from './json-keys.ts';
import { readPlainYaml } from './plain-yaml.ts';
import type { Path, Problem, Schema } from './schema.ts';
import { loadYamlParser, type YamlParser } from './yaml-parser.ts';

export type ConfigTextOptions<T> = {
  /** As it stands in messages. */
  readonly fileName: string;
  /** What the text should be: `a base configuration`. */
  readonly what: string;
  readonly schema: Schema<T>;
  /** What one key alone cannot say; called with a value that the schema has accepted. */
  readonly check?: (value: T) => readonly Problem[];
  readonly maxBytes: number;
  /** Recognises another kind of file that somebody may give by mistake: one sentence then, instead of many problems. */
  readonly insteadOf?: (value: unknown) => { readonly is: string; readonly hint: string } | undefined;
};

/** A parser of YAML takes seconds and a gigabyte for more; JSON is read up to `maxBytes`. */
const YAML_MAX_BYTES = 8 * 1024 * 1024;
const SHOWN_PROBLEMS = 50;
const SHOWN_CHARACTERS = 200;
/** So many are sorted into the order of the text; finding the place of each takes time. */
const LOCATED_PROBLEMS = 200;

/**
 * Reads a configuration. JSON and plain YAML are read without the parser of all of YAML, unless there is a problem to locate.
 *
 * @throws ComicranError config.invalid that lists every problem, in the order of the text, one a line:
 * `file:line:column: key: found: allowed`.
 */
export function readConfigText<T>(text: string, options: ConfigTextOptions<T>): T {
  const bytes = Buffer.byteLength(text);
  if (bytes > options.maxBytes) {
    throw invalid(options, [`${options.fileName}:1:1: ${bytes} bytes: at most ${options.maxBytes} bytes are read`]);
  }
  const json = tryJson(text);
  if (json === undefined && bytes > YAML_MAX_BYTES) {
    const problem = `${bytes} bytes that are not JSON: at most ${YAML_MAX_BYTES} bytes of YAML are read`;
    throw invalid(options, [`${options.fileName}:1:1: ${problem}`]);
  }
  if (json !== undefined && bytes <= YAML_MAX_BYTES) refuseRepeatedKey(text, options);
  const simple = json ?? readPlainYaml(text);
  const source = simple === undefined ? new YamlSource(text, options) : undefined;
  const value = simple === undefined ? source!.value() : simple.value;

  const other = options.insteadOf?.(value);
  if (other !== undefined)
    throw new ComicranError('config.invalid', `${options.fileName} is ${other.is}`, { hint: other.hint });

  const problems: Problem[] = [];
  const result = options.schema.read(value, [], (problem) => problems.push(problem));
  if (result !== undefined && problems.length === 0) problems.push(...(options.check?.(result) ?? []));
  if (result !== undefined && problems.length === 0) return result;

  // Places are found by the parser of YAML.
  const located = source ?? (bytes <= YAML_MAX_BYTES ? new YamlSource(text, options) : undefined);
  const inOrder = problems
    .slice(0, LOCATED_PROBLEMS)
    .map((problem) => ({ problem, offset: located?.offset(problem) }))
    // Stable: of several at one place, the order of the schema.
    .toSorted((a, b) => (a.offset ?? 0) - (b.offset ?? 0));
  const lines = inOrder.slice(0, SHOWN_PROBLEMS).map(({ problem, offset }) => {
    const key = pathText(problem.path);
    return `${located?.at(offset) ?? options.fileName}: ${key === '' ? '' : `${key}: `}${problem.found}: ${problem.allowed}`;
  });
  if (lines.length < problems.length) lines.push(`and ${problems.length - lines.length} more`);
  throw invalid(options, lines);
}

/** The value of any YAML text, by the parser of all of it. @throws ComicranError config.invalid */
export function readAnyYaml(text: string, named: Named): unknown {
  return new YamlSource(text, named).value();
}

/** `file:line:column` of a key of a text that has been read. */
export function placeOf(text: string, path: Path, fileName: string): string {
  const source = new YamlSource(text, { fileName, what: '' });
  return source.at(source.offset({ path, at: 'value', found: '', allowed: '' }));
}

/** `network.ports[0].port` */
export function pathText(path: Path): string {
  return path
    .map((step, index) => (typeof step === 'number' ? `[${step}]` : `${index === 0 ? '' : '.'}${shortened(step)}`))
    .join('');
}

/** Whatever stands in a text may stand in a message about it. */
function shortened(text: string): string {
  return text.length <= SHOWN_CHARACTERS ? text : `${text.slice(0, SHOWN_CHARACTERS)}…`;
}

type Named = { readonly fileName: string; readonly what: string };

function invalid({ fileName, what }: Named, lines: readonly string[], cause?: unknown): ComicranError {
  return new ComicranError('config.invalid', `${fileName} is not ${what}:\n  ${lines.join('\n  ')}`, {
    hint: 'Correct these lines; docs/configuration.md says what each key is for.',
    ...(cause === undefined ? {} : { cause }),
  });
}

/** JSON.parse takes the last of two equal keys without a word. */
function refuseRepeatedKey(text: string, options: Named): void {
  const found = repeatedKey(text);
  if (found === undefined) return;
  const { line, column } = placeIn(text, found.offset);
  const problem = `the key ${shortened(found.key)} stands here twice; keys must be unique`;
  throw invalid(options, [`${options.fileName}:${line}:${column}: ${problem}`]);
}

function tryJson(text: string): { readonly value: unknown } | undefined {
  if (!/^\s*[{[]/.test(text)) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return { value };
  } catch {
    // It may be YAML in flow style; if not, YAML's message has the line.
    return undefined;
  }
}

class YamlSource {
  readonly #options: Named;
  readonly #document: Document.Parsed;
  readonly #lines: LineCounter;
  readonly #yaml: YamlParser;

  constructor(text: string, options: Named) {
    this.#options = options;
    this.#yaml = loadYamlParser();
    const { parseDocument, LineCounter } = this.#yaml;
    this.#lines = new LineCounter();
    this.#document = parseDocument(text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      logLevel: 'error',
      // The parser compares each key with each other one: findExcess looks for equal ones in one pass.
      uniqueKeys: false,
      customTags: (tags) => [WRITTEN_NUMBER, ...tags.filter((tag) => typeof tag === 'string' || !isNumberTag(tag.tag))],
    });
  }

  /** @throws ComicranError config.invalid where the text is not YAML, or expands to too much. */
  value(): unknown {
    const wrong = this.#document.errors[0] ?? this.#document.warnings[0];
    if (wrong !== undefined) {
      // The parser reports that its own stack was exhausted as an error of the text.
      const deep = wrong.message.includes('call stack');
      const message = deep ? 'nested too deeply' : shortened(wrong.message.split('\n')[0]!);
      throw invalid(this.#options, [`${this.at(wrong.pos[0])}: ${message}`]);
    }
    const excess = findExcess(this.#document.contents, this.#yaml);
    if (excess !== undefined) throw invalid(this.#options, [`${this.at(excess.offset)}: ${excess.problem}`]);
    try {
      return this.#document.toJS({ maxAliasCount: -1 }); // findExcess has counted them
    } catch (cause) {
      const message = cause instanceof RangeError ? 'nested too deeply' : messageOf(cause);
      throw invalid(this.#options, [`${this.#options.fileName}: ${message}`], cause);
    }
  }

  /** Where a problem is in the text; of the mapping that lacks it where a key is missing. */
  offset(problem: Problem): number | undefined {
    const { isMap, isSeq, isNode } = this.#yaml;
    let node: Node | null | undefined = this.#document.contents;
    let offset = node?.range?.[0];
    for (const [depth, step] of problem.path.entries()) {
      node = this.#resolved(node);
      const last = depth === problem.path.length - 1;
      let next: unknown;
      if (isMap(node)) {
        const pair = node.items.find(({ key }) => String(this.#plain(key)) === String(step));
        if (last && problem.at === 'key' && isNode(pair?.key)) return pair.key.range?.[0];
        next = pair?.value ?? pair?.key;
      } else if (isSeq(node)) {
        next = node.items[Number(step)];
      }
      if (!isNode(next)) break;
      node = next;
      offset = node.range?.[0] ?? offset;
    }
    return offset;
  }

  #resolved(node: Node | null | undefined): Node | null | undefined {
    return this.#yaml.isAlias(node) ? node.resolve(this.#document) : node;
  }

  #plain(key: unknown): unknown {
    return this.#yaml.isScalar(key) ? key.value : key;
  }

  /** `file:line:column` of an offset. */
  at(offset: number | undefined): string {
    if (offset === undefined) return this.#options.fileName;
    const { line, col } = this.#lines.linePos(offset);
    return line === 0 ? this.#options.fileName : `${this.#options.fileName}:${line}:${col}`;
  }
}

function isNumberTag(tag: string): boolean {
  return tag === 'tag:yaml.org,2002:int' || tag === 'tag:yaml.org,2002:float';
}

/**
 * The only number of these files: decimal, as it would be printed. `0755`, `0x1F`, `1.10` and `1e3` stay the text that
 * was written, so that no argument of a program and no file mode changes on its way.
 */
const WRITTEN_NUMBER = {
  tag: 'tag:yaml.org,2002:int',
  default: true,
  test: /^(?:0|-?[1-9][0-9]{0,14})$/,
  resolve: Number,
} as const;
