/** What the text of a JavaScript module loads, as far as the text says it. */
import { stripTypeScriptTypes } from 'node:module';
import { type Node, type Options, parse } from 'acorn';

/** `import`: by the rules of ES modules; `require`: by those of CommonJS; `url`: a file relative to the module. */
export type Load = {
  readonly kind: 'import' | 'require' | 'url';
  readonly specifier: string;
  /** A static import: without it the module does not start. */
  readonly certain: boolean;
};

export type ModuleLoads = {
  readonly loads: readonly Load[];
  /** Something is loaded by a name that is put together while it runs, or looked for beside the module. */
  readonly computed: boolean;
};

const LOOKS_BESIDE = new Set(['__dirname', '__filename']);
const LOOKS_BESIDE_META = new Set(['dirname', 'filename']);

/** @returns undefined for a text that is no JavaScript. @param typescript whether its types are to be taken off first. */
export function loadsOf(text: string, typescript: boolean): ModuleLoads | undefined {
  const tree = parseEither(typescript ? withoutTypes(text) : text);
  if (tree === undefined) return undefined;
  const loads: Load[] = [];
  let computed = false;
  const load = (kind: Load['kind'], argument: Tree | undefined, certain = false): void => {
    const specifier = literalOf(argument);
    if (specifier !== undefined) loads.push({ kind, specifier, certain });
    else if (argument !== undefined) computed = true;
  };
  visit(tree, (node) => {
    switch (node.type) {
      case 'ImportDeclaration':
      case 'ExportAllDeclaration':
      case 'ExportNamedDeclaration':
        if (isTree(node['source'])) load('import', node['source'], true);
        break;
      case 'ImportExpression':
        load('import', treeAt(node, 'source'));
        break;
      case 'CallExpression':
        if (isRequire(treeAt(node, 'callee'))) load('require', argumentsOf(node)[0]);
        break;
      case 'NewExpression':
        if (isName(treeAt(node, 'callee'), 'URL') && isMeta(argumentsOf(node)[1], 'url'))
          load('url', argumentsOf(node)[0]);
        break;
      case 'Identifier':
        if (LOOKS_BESIDE.has(String(node['name']))) computed = true;
        break;
      case 'MemberExpression':
        if (LOOKS_BESIDE_META.has(nameOf(treeAt(node, 'property')) ?? '') && isMeta(node)) computed = true;
        break;
      default:
    }
  });
  return { loads, computed };
}

function withoutTypes(text: string): string {
  try {
    return stripTypeScriptTypes(text);
  } catch {
    return text; // what is wrong with it the parser finds, too
  }
}

const COMMON: Options = {
  ecmaVersion: 'latest',
  allowHashBang: true,
  allowReturnOutsideFunction: true,
  allowAwaitOutsideFunction: true,
  allowSuperOutsideMethod: true,
};

/** Which of the two it is does not matter here: the words for loading are different ones. */
function parseEither(text: string): Tree | undefined {
  for (const sourceType of ['module', 'script'] as const) {
    try {
      const tree: unknown = parse(text, { ...COMMON, sourceType });
      return isTree(tree) ? tree : undefined;
    } catch {
      // then the other
    }
  }
  return undefined;
}

type Tree = Node & { readonly [key: string]: unknown };

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';
}

/** Every node once; a list of its own instead of recursion, because generated code nests deeply. */
function visit(root: Tree, look: (node: Tree) => void): void {
  const pending: Tree[] = [root];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    look(node);
    for (const value of Object.values(node)) {
      if (Array.isArray(value)) pending.push(...value.filter(isTree));
      else if (isTree(value)) pending.push(value);
    }
  }
}

function treeAt(node: Tree, key: string): Tree | undefined {
  const value = node[key];
  return isTree(value) ? value : undefined;
}

function argumentsOf(node: Tree): readonly Tree[] {
  const found = node['arguments'];
  return Array.isArray(found) ? found.filter(isTree) : [];
}

function literalOf(node: Tree | undefined): string | undefined {
  if (node?.type === 'Literal' && typeof node['value'] === 'string') return node['value'];
  if (node?.type !== 'TemplateLiteral') return undefined;
  const quasis = node['quasis'] as readonly { readonly value: { readonly cooked?: string } }[];
  return quasis.length === 1 ? quasis[0]!.value.cooked : undefined;
}

function nameOf(node: Tree | undefined): string | undefined {
  return node?.type === 'Identifier' ? String(node['name']) : undefined;
}

function isName(node: Tree | undefined, name: string): boolean {
  return nameOf(node) === name;
}

/** `require`, `require.resolve`, `module.require`, `import.meta.resolve`. */
function isRequire(callee: Tree | undefined): boolean {
  if (isName(callee, 'require')) return true;
  if (callee?.type !== 'MemberExpression') return false;
  const [object, property] = [treeAt(callee, 'object'), nameOf(treeAt(callee, 'property'))];
  return (isName(object, 'require') && property === 'resolve') || (isName(object, 'module') && property === 'require');
}

/** `import.meta.url`; without a name `import.meta.` anything. */
function isMeta(node: Tree | undefined, name?: string): boolean {
  if (node?.type !== 'MemberExpression' || treeAt(node, 'object')?.type !== 'MetaProperty') return false;
  return name === undefined || isName(treeAt(node, 'property'), name);
}
