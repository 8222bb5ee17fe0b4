export interface Finding {
  sheet?: string | null;
  row?: number | null;
  column?: string | null;
  field?: string | null;
  code?: string | null;
  message_en?: string | null;
  message_ar?: string | null;
}

interface Problem extends Finding {
  title?: string;
  detail?: string;
  hint?: string;
  request_id?: string;
  errors?: Finding[];
}

/** A refusal or failure in the server's words (RFC 9457), or `code` "network" when no answer came. */
export class ApiError extends Error {
  readonly code: string;
  readonly requestId: string | null;
  readonly texts: { message_ar?: string | null; message_en?: string | null };
  readonly errors: Finding[];

  constructor(
    readonly status: number,
    readonly body: Problem & Record<string, unknown>,
    requestId: string | null = null,
    readonly retryAfter: number | null = null,
  ) {
    super(body.detail ?? body.title ?? `HTTP ${status}`);
    this.code = body.code ?? (status === 0 ? 'network' : 'unknown');
    this.requestId = body.request_id ?? requestId;
    this.texts = { message_ar: body.message_ar ?? null, message_en: body.message_en ?? body.detail ?? body.title ?? null };
    this.errors = body.errors ?? [];
  }

  /** The server's finding for one field of the form. */
  field(name: string): Finding | undefined {
    return this.errors.find((error) => error.field === name);
  }
}

export const isAbort = (error: unknown): boolean => error instanceof DOMException && error.name === 'AbortError';

const hooks = { unauthorized: () => {}, maintenance: (_seconds: number | null) => {} };

export function onUnauthorized(hook: () => void): void {
  hooks.unauthorized = hook;
}

/** What to do when a change is refused because a restore is at work; told after how many seconds to try again. */
export function onMaintenance(hook: (seconds: number | null) => void): void {
  hooks.maintenance = hook;
}

function fail(status: number, text: string, requestId: string | null, retryAfter: string | null): ApiError {
  let body: Problem & Record<string, unknown>;
  try {
    body = JSON.parse(text) as Problem & Record<string, unknown>;
  } catch {
    body = {};
  }
  const error = new ApiError(status, body, requestId, retryAfter ? Number(retryAfter) : null);
  if (error.code === 'unauthorized') hooks.unauthorized();
  if (error.code === 'maintenance') hooks.maintenance(error.retryAfter);
  return error;
}

export async function request<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method, headers: { accept: 'application/json', 'accept-language': document.documentElement.lang }, credentials: 'same-origin', signal: signal ?? null };
  if (body !== undefined) {
    init.headers = { ...init.headers, 'content-type': 'application/json' };
    init.body = JSON.stringify(body);
  }
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (isAbort(error)) throw error;
    throw new ApiError(0, {});
  }
  if (response.ok) return (response.status === 204 ? undefined : await response.json()) as T;
  throw fail(response.status, await response.text(), response.headers.get('x-request-id'), response.headers.get('retry-after'));
}

/** Send one file with progress from 0 to 1; fetch can not report upload progress. */
export function upload<T>(path: string, file: File, onProgress: (share: number) => void, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    const form = new FormData();
    form.append('file', file);
    call.open('POST', path);
    call.setRequestHeader('accept', 'application/json');
    call.upload.onprogress = (event) => onProgress(event.lengthComputable ? event.loaded / event.total : 0);
    call.onload = () => {
      if (call.status < 300) resolve(JSON.parse(call.responseText) as T);
      else reject(fail(call.status, call.responseText, call.getResponseHeader('x-request-id'), call.getResponseHeader('retry-after')));
    };
    call.onerror = () => reject(new ApiError(0, {}));
    call.onabort = () => reject(new DOMException('aborted', 'AbortError'));
    signal.addEventListener('abort', () => call.abort());
    call.send(form);
  });
}

/** Turn what a catch clause caught into an ApiError; anything else is a fault of this program and is thrown on. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  throw error;
}
