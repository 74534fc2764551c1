import { readFull } from './full-input.ts';

export async function check(files: readonly string[], { json }: { readonly json?: true }): Promise<void> {
  const { checkConfig, clashes } = await import('../../../configer/still-complete.ts');
  const { hostLoaderFacts } = await import('../../../configer/loader-facts.ts');
  const configs = [];
  for (const name of files) configs.push({ name, config: await readFull(name) });
  const facts = hostLoaderFacts();
  const results = [];
  const together = clashes(configs);
  for (const { name, config } of configs) {
    const findings = [...(await checkConfig(config, facts)), ...together.filter(({ path }) => path === name)];
    results.push({ config: name, id: config.id, files: config.files.length, findings });
  }
  const text = results.map(({ config, files: count, findings }) => {
    if (findings.length === 0) return `${config}: complete; ${count} files are as they were\n`;
    return findings.map(({ path, problem }) => `${config}: ${path === config ? '' : `${path} `}${problem}\n`).join('');
  });
  process.stdout.write(json === true ? `${JSON.stringify(results, null, 2)}\n` : text.join(''));
  process.exitCode = results.every(({ findings }) => findings.length === 0) ? 0 : 1;
}
