export type NumberFault = 'empty' | 'not_a_number' | 'ambiguous' | 'negative' | 'decimals' | 'over_hundred';

export interface Limits {
  decimals: number;
  most?: number;
}

const latin = (text: string): string =>
  text
    .replace(/[٠-٩]/g, (digit) => String(digit.charCodeAt(0) - 0x660))
    .replace(/[۰-۹]/g, (digit) => String(digit.charCodeAt(0) - 0x6f0))
    .replace(/٫/g, '.')
    .replace(/٬/g, ',')
    .replace(/[\s\u00a0\u200e\u200f\u061c%٪]/g, '');

/** A typed number as a plain decimal string: Arabic-Indic digits, ٫ and ٬ are read; "1,5" is refused because it can mean two things. */
export function parseNumber(text: string, limits: Limits): { value: string } | { fault: NumberFault } {
  let plain = latin(text);
  if (plain === '') return { fault: 'empty' };
  if (plain.includes(',')) {
    if (!/^-?\d{1,3}(,\d{3})+(\.\d*)?$/.test(plain)) return { fault: /^-?\d+,\d+$/.test(plain) ? 'ambiguous' : 'not_a_number' };
    plain = plain.replaceAll(',', '');
  }
  if (!/^-?(\d+\.?\d*|\.\d+)$/.test(plain)) return { fault: 'not_a_number' };
  if (plain.startsWith('-')) return { fault: 'negative' };
  const [whole = '', fraction = ''] = plain.split('.');
  const kept = fraction.replace(/0+$/, '');
  if (kept.length > limits.decimals) return { fault: 'decimals' };
  const value = `${whole.replace(/^0+(?=\d)/, '') || '0'}${kept && `.${kept}`}`;
  if (limits.most !== undefined && Number(value) > limits.most) return { fault: 'over_hundred' };
  return { value };
}

/** A server decimal for an input: no grouping, no padding zeros. */
export function plain(value: string | null): string {
  if (value === null) return '';
  return value.includes('.') ? value.replace(/0+$/, '').replace(/\.$/, '') : value;
}
