/** The conversions of iconv(3), which the C library loads by name: the directory gconv beside it. */
import { existsSync } from 'node:fs';
import { beside, librariesOf } from './libraries.ts';
import type { Rule, Want } from './rule.ts';

export const characterSets: Rule = {
  name: 'characterSets',
  wants: (context) =>
    librariesOf(context, (name) => name === 'libc.so.6').flatMap((library): Want[] => {
      const place = beside(library, 'gconv');
      if (!existsSync(place.host)) return [];
      return [
        {
          as: 'directory',
          place,
          chain: [...library.chain, 'gconv'],
          rule: 'characterSets',
          by: library.place.inside,
        },
      ];
    }),
};
