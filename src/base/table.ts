/** Columns as operators know them: a header in capitals, cells padded to the widest, two spaces between, no frames. */

export type Column<Row> = {
  readonly title: string;
  readonly cell: (row: Row) => string;
  /** Numbers stand right. */
  readonly align?: 'left' | 'right';
};

export function formatTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const cells = [
    columns.map((column) => column.title.toUpperCase()),
    ...rows.map((row) => columns.map((c) => c.cell(row))),
  ];
  const widths = columns.map((_, index) => Math.max(...cells.map((line) => line[index]!.length)));
  const lines = cells.map((line) =>
    line
      .map((text, index) =>
        columns[index]!.align === 'right' ? text.padStart(widths[index]!) : text.padEnd(widths[index]!),
      )
      .join('  ')
      .trimEnd(),
  );
  return `${lines.join('\n')}\n`;
}
