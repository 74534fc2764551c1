/** The parser of YAML, loaded where one is needed. scripts/bundle.ts puts another way to it in the place of this file. */
import { createRequire } from 'node:module';

export type YamlParser = typeof import('yaml');

export const loadYamlParser = (): YamlParser => createRequire(import.meta.url)('yaml') as YamlParser;
