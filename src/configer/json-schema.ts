/** The JSON Schema of a configuration, made from the schema that reads it: what is published for editors cannot differ. */
import { FULL_CONFIG_SCHEMA } from '../base/full-config.ts';
import type { JsonSchema, Schema } from '../base/schema.ts';
import { BASE_CONFIG_SCHEMA } from './base-config.ts';
import { BASE_CONFIG_KEYS, type KeyText } from './base-config-keys.ts';

/** What editors are told; draft 7 is what the language servers for YAML know whole. */
const DRAFT = 'http://json-schema.org/draft-07/schema#';

/** The published schemas, by the names of their files in schema/. */
export const PUBLISHED = {
  base: () => jsonSchemaOf(BASE_CONFIG_SCHEMA, 'Base configuration of a COMIC-RAN sandbox', BASE_CONFIG_KEYS),
  full: () => jsonSchemaOf(FULL_CONFIG_SCHEMA, 'Full configuration of a COMIC-RAN sandbox', {}),
} as const;

/**
 * @param title what the file is: `Base configuration of a sandbox`.
 * @param texts by key (`network.ports[].port`); a key without one is described by what it allows.
 */
function jsonSchemaOf(schema: Schema<unknown>, title: string, texts: Readonly<Record<string, KeyText>>): JsonSchema {
  return { $schema: DRAFT, title, ...valueSchema(schema, '', texts) };
}

function valueSchema(schema: Schema<unknown>, path: string, texts: Readonly<Record<string, KeyText>>): JsonSchema {
  const { json, shape, inner } = schema;
  if (shape !== undefined) return objectSchema(shape, path, texts);
  if (inner === undefined) return json;
  const [item] = inner;
  if (json['type'] === 'array') return { ...json, items: valueSchema(item!, `${path}[]`, texts) };
  if (json['type'] === 'object') return { ...json, additionalProperties: valueSchema(item!, path, texts) };
  return { anyOf: [...(json['anyOf'] as JsonSchema[]), ...inner.map((one) => valueSchema(one, path, texts))] };
}

function objectSchema(
  shape: NonNullable<Schema<unknown>['shape']>,
  path: string,
  texts: Readonly<Record<string, KeyText>>,
): JsonSchema {
  const fields = Object.entries(shape);
  const needed = fields.filter(([, field]) => field.presence === 'required' && field.fallback === undefined);
  return {
    type: 'object',
    properties: Object.fromEntries(
      fields.map(([key, { schema, fallback }]) => {
        const at = path === '' ? key : `${path}.${key}`;
        const text = texts[at];
        return [
          key,
          {
            description: text === undefined ? sentence(schema.allowed) : `${text.about} ${sentence(schema.allowed)}`,
            ...(fallback === undefined ? {} : { default: shown(fallback, schema.json) }),
            ...(text === undefined ? {} : { examples: [text.example] }),
            ...valueSchema(schema, at, texts),
          },
        ];
      }),
    ),
    ...(needed.length === 0 ? {} : { required: needed.map(([key]) => key) }),
    additionalProperties: false,
  };
}

/** A number that may be given as text is permission bits, which people write in octal. */
function shown(fallback: unknown, json: JsonSchema): unknown {
  return typeof fallback === 'number' && json['type'] !== 'integer' ? fallback.toString(8).padStart(4, '0') : fallback;
}

function sentence(text: string): string {
  return `Allowed: ${text}.`;
}
