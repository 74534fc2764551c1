export type OciOptions = {
  readonly id?: string;
  readonly address?: string;
  readonly port?: readonly string[];
  readonly writable?: readonly string[];
  readonly ignore?: readonly string[];
  readonly output?: string;
  readonly quiet?: true;
};

export async function oci(directory: string, options: OciOptions): Promise<void> {
  const { convertBundle } = await import('../../../configer/oci/bundle.ts');
  const { parsePort } = await import('../../../configer/oci/network.ts');
  const { formatJson, formatYaml } = await import('../../../configer/format.ts');
  const { writeFileWhole } = await import('../../../configer/text-file.ts');
  const { MASKED, PROTECTED } = await import('../../../jailor/plan.ts');
  const { defaultProfile } = await import('../../../jailor/system-calls.ts');
  const { id, address, port, writable, ignore, output, quiet } = options;
  const { config, notes } = await convertBundle(directory, {
    ...(id === undefined ? {} : { id }),
    ...(address === undefined ? {} : { address }),
    ports: (port ?? []).map(parsePort),
    ignored: ignore ?? [],
    writable: writable ?? [],
    alwaysMasked: MASKED,
    alwaysReadonly: PROTECTED,
    profileFor: defaultProfile,
  });
  if (quiet !== true) for (const { path, problem } of notes) process.stderr.write(`note: ${path}: ${problem}\n`);
  // Thousands of files: JSON is read without the parser of YAML, which takes seconds for them.
  const text = /\.ya?ml$/.test(output ?? '') ? await formatYaml(config, 'a bundle') : formatJson(config);
  if (output === undefined) process.stdout.write(text);
  else writeFileWhole(output, text);
}
