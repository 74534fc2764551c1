/**
 * What a YAML text may not do, whatever it says: nest without end, blow itself up through aliases, have a key twice. One
 * pass over the nodes, bounded by the length of the text.
 */
import type { Node } from 'yaml';

/** A problem, and the offset of what it is about. */
export type Excess = { readonly offset: number; readonly problem: string };

type Yaml = Pick<typeof import('yaml'), 'isAlias' | 'isMap' | 'isSeq' | 'isScalar' | 'isNode'>;

/** Collections in each other. A configuration needs five. */
const MAX_DEPTH = 64;
/** Values that all aliases together stand for. */
const MAX_ALIASED_VALUES = 10_000;
const SHOWN_CHARACTERS = 200;
/** Stands for the number of values of a node that the walk is still in. */
const UNFINISHED = -1;

/** @returns undefined where nothing is wrong. */
export function findExcess(contents: Node | null, yaml: Yaml): Excess | undefined {
  const walk = new Walk(yaml);
  walk.visit(contents, 0);
  return walk.found;
}

class Walk {
  found: Excess | undefined;
  readonly #yaml: Yaml;
  /** How many values stand below an anchor, those of its own aliases included. */
  readonly #valuesOf = new Map<string, number>();
  #aliasedValues = 0;

  constructor(yaml: Yaml) {
    this.#yaml = yaml;
  }

  /** @returns how many values the node stands for. */
  visit(node: unknown, depth: number): number {
    const { isAlias, isMap, isSeq, isNode } = this.#yaml;
    if (this.found !== undefined || !isNode(node)) return 1;
    if (isAlias(node)) return this.#alias(node.source, node);
    if (depth > MAX_DEPTH) {
      this.#fail(node, `nested too deeply: more than ${MAX_DEPTH} lists and mappings in each other`);
      return 1;
    }
    const { anchor } = node as { readonly anchor?: string };
    if (anchor !== undefined) this.#valuesOf.set(anchor, UNFINISHED);
    let values = 1;
    if (isSeq(node)) for (const item of node.items) values += this.visit(item, depth + 1);
    else if (isMap(node)) {
      const keys = new Set<string>();
      for (const { key, value } of node.items) {
        this.#key(key, keys);
        values += this.visit(value, depth + 1);
      }
    }
    if (anchor !== undefined) this.#valuesOf.set(anchor, values);
    return values;
  }

  #alias(name: string, node: Node): number {
    const values = this.#valuesOf.get(name);
    if (values === undefined || values === UNFINISHED) {
      const problem = values === undefined ? `there is no &${name} before it` : 'it is a part of what it stands for';
      this.#fail(node, `*${name}: ${problem}`);
      return 1;
    }
    this.#aliasedValues += values;
    if (this.#aliasedValues > MAX_ALIASED_VALUES) {
      this.#fail(node, `*${name}: the aliases up to here stand for more than ${MAX_ALIASED_VALUES} values`);
    }
    return values;
  }

  #key(key: unknown, seen: Set<string>): void {
    const { isNode, isScalar } = this.#yaml;
    if (!isNode(key)) return;
    if (!isScalar(key)) {
      this.#fail(key, 'a key is text, not a list, a mapping or an alias');
      return;
    }
    const name = String(key.value);
    if (seen.has(name)) this.#fail(key, `the key ${name.slice(0, 60)} stands here twice; keys must be unique`);
    seen.add(name);
    if (key.anchor !== undefined) this.#valuesOf.set(key.anchor, 1);
  }

  #fail(node: Node, problem: string): void {
    const shown = problem.length <= SHOWN_CHARACTERS ? problem : `${problem.slice(0, SHOWN_CHARACTERS)}…`;
    this.found ??= { offset: node.range?.[0] ?? 0, problem: shown };
  }
}
