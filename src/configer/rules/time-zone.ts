/** The time zone that TZ of the environment names (tzset(3)). Without TZ a sandbox has UTC. */
import { existsSync } from 'node:fs';
import { posix } from 'node:path';
import { isNormalPath } from '../../base/config-schemas.ts';
import { ComicranError } from '../../base/errors.ts';
import { inPlace, type Rule } from './rule.ts';

const DIRECTORY = '/usr/share/zoneinfo';
/** `CET-1CEST,M3.5.0,M10.5.0/3`: the rule itself, and no file. */
const RULE_ITSELF = /^(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)[+-]?\d/;

export const timeZone: Rule = {
  name: 'timeZone',
  wants({ base }) {
    const zone = base.process.environment['TZ']?.replace(/^:/, '') ?? '';
    if (zone === '' || RULE_ITSELF.test(zone)) return [];
    const path = posix.resolve(DIRECTORY, zone);
    const chain = [base.id, `TZ=${zone}`];
    if (isNormalPath(path) && !zone.includes('..') && existsSync(path)) {
      return [{ as: 'file', place: inPlace(path), chain, rule: 'timeZone', by: 'process.environment.TZ' }];
    }
    throw new ComicranError('config.missing-file', `the time zone ${zone} does not exist (${chain.join(' -> ')})`, {
      hint: 'Name one of /usr/share/zoneinfo (Debian: tzdata), or switch dependencies.timeZone off.',
    });
  },
};
