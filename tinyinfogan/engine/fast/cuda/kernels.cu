// In one pass what the formulas of engine/primitives.py do in a row of small ones.
//
// Each kernel has the name of the primitive that it is for, or says which.  T is float or double.  A thread computes
// one element i of what is written, or threads add up in a fixed order: the same bits in every run.

#define ELEMENT(n) int i = blockIdx.x * blockDim.x + threadIdx.x; if (i >= (n)) return

struct Windows { int H, W, C, OH, OW, KH, KW, stride, padding; };

// What Adam needs of each parameter: its elements, their gradients and moments, and their number.
struct Parameters { T *theta[64]; const T *g[64]; T *m[64], *v[64]; int size[64]; };

// A place between pixels: the one above and to the left of it, and how far below and right it is.
struct Place { int r, c; T down, right; bool inside; };

__device__ Place place(const T* map, int r, int c, int H, int W) {
    T y = r - (H - 1) / T(2), x = c - (W - 1) / T(2);
    T i = map[0] * y + (map[2] + (H - 1) / T(2)) + map[1] * x;
    T j = map[3] * y + (map[5] + (W - 1) / T(2)) + map[4] * x;
    if (!(i > -1 && i < H && j > -1 && j < W)) return Place{0, 0, 0, 0, false};
    int above = int(floor(i)), left = int(floor(j));
    return Place{above, left, i - above, j - left, true};
}

// What is known of some rows in a channel: their number n, their mean and Σ (x - mean)².
struct Moments { T n, mean, squares; };

// Those of two sets of rows together (Chan et al. 1979), without a difference of large squares.
__device__ Moments operator+(Moments a, Moments b) {
    if (a.n == 0 || b.n == 0) return a.n == 0 ? b : a;
    T share = b.n / (a.n + b.n), d = b.mean - a.mean;
    return Moments{a.n + b.n, a.mean + d * share, a.squares + b.squares + d * d * (a.n * share)};
}

// Σ g and Σ g · centred.
struct Sums { T g, products; };

__device__ Sums operator+(Sums a, Sums b) { return Sums{a.g + b.g, a.products + b.products}; }

// Rows (N, C) in blocks: blockIdx.x counts groups of `width` channels, blockIdx.y parts of the rows.  Of each channel a
// block has blockDim.x / width threads; one takes its channel c of the rows `first`, first + step, ... below `last`,
// and the first thread writes what they have in common.
struct Share {
    int c, first, step, last;
    bool writes;
    __device__ Share(int N, int C, int width) {
        int i = threadIdx.x, part = blockIdx.y, size = (N + gridDim.y - 1) / gridDim.y;
        step = blockDim.x / width;
        c = blockIdx.x * width + i % width;
        first = part * size + i / width;
        last = c < C ? min((part + 1) * size, N) : 0;
        writes = c < C && i < width;
    }
};

// The sum of what a block's threads of a channel have, given to all of them: added up as a tree, once in a kernel.
template <class S> __device__ S over_rows(S own, int width) {
    __shared__ S all[256];
    int i = threadIdx.x;
    all[i] = own;
    for (int half = blockDim.x / 2; half >= width; half /= 2) {
        __syncthreads();
        if (i < half) all[i] = all[i] + all[i + half];
    }
    __syncthreads();
    return all[i % width];
}

// The same of what the parts of the rows have, an array (gridDim.y, C).
template <class S> __device__ S over_parts(const S* parts, Share s, int C, int width) {
    S own = {};
    for (int i = threadIdx.x / width * C + s.c; s.c < C && i < int(gridDim.y) * C; i += s.step * C)
        own = own + parts[i];
    return over_rows(own, width);
}

// The moments of the rows of a block.
__device__ Moments moments_of(const T* x, Share s, int C, int width) {
    Moments own = {};
    for (int row = s.first; row < s.last; row += s.step) own = own + Moments{1, x[row * C + s.c], 0};
    return over_rows(own, width);
}

// Σ g and Σ g · centred over the rows of a block.
__device__ Sums sums_of(const T* g, const T* centred, Share s, int C, int width) {
    Sums own = {};
    for (int row = s.first; row < s.last; row += s.step) {
        int i = row * C + s.c;
        own = own + Sums{g[i], g[i] * centred[i]};
    }
    return over_rows(own, width);
}

extern "C" {

// im2col: a number of a window is one of the image, or 0 around it.
__global__ void im2col(const T* x, T* columns, int n, Windows s) {
    ELEMENT(n);
    int at = i;
    int c = at % s.C;   at /= s.C;
    int l = at % s.KW;  at /= s.KW;
    int k = at % s.KH;  at /= s.KH;
    int ow = at % s.OW; at /= s.OW;
    int oh = at % s.OH; at /= s.OH;
    int h = oh * s.stride + k - s.padding, w = ow * s.stride + l - s.padding;
    bool inside = h >= 0 && h < s.H && w >= 0 && w < s.W;
    columns[i] = inside ? x[((at * s.H + h) * s.W + w) * s.C + c] : T(0);
}

// col2im: a pixel is the sum of the windows (oh, ow) that cover it.
__global__ void col2im(const T* columns, T* images, int n, Windows s) {
    ELEMENT(n);
    int at = i;
    int c = at % s.C;               at /= s.C;
    int w = at % s.W + s.padding;   at /= s.W;
    int h = at % s.H + s.padding;   at /= s.H;
    int first_oh = h < s.KH ? 0 : (h - s.KH) / s.stride + 1;
    int first_ow = w < s.KW ? 0 : (w - s.KW) / s.stride + 1;
    T sum = 0;
    for (int oh = first_oh; oh <= h / s.stride && oh < s.OH; oh++)
        for (int ow = first_ow; ow <= w / s.stride && ow < s.OW; ow++) {
            int k = h - oh * s.stride, l = w - ow * s.stride;
            sum += columns[((((at * s.OH + oh) * s.OW + ow) * s.KH + k) * s.KW + l) * s.C + c];
        }
    images[i] = sum;
}

// sum_rows: Σ x of each part of the rows.
__global__ void sum_rows(const T* x, T* sums, int N, int C, int width) {
    Share s(N, C, width);
    T sum = 0;
    for (int row = s.first; row < s.last; row += s.step) sum += x[row * C + s.c];
    sum = over_rows(sum, width);
    if (s.writes) sums[blockIdx.y * C + s.c] = sum;
}

// norm_forward, at first if there are several: the moments of each part of the rows.
__global__ void norm_moments(const T* x, Moments* parts, int N, int C, int width) {
    Share s(N, C, width);
    Moments own = moments_of(x, s, C, width);
    if (s.writes) parts[blockIdx.y * C + s.c] = own;
}

// norm_forward: y = gamma · scale · (x - mean) + beta with scale = 1 / √(var + eps).
// __restrict__: they do not overlap, so that the next numbers can be read before those are written.
__global__ void norm_forward(const T* __restrict__ x, const Moments* parts, const T* gamma, const T* beta,
                             T* running_mean, T* running_var, T* __restrict__ y, T* __restrict__ centred, T* scales,
                             int N, int C, int width, T momentum, T eps) {
    Share s(N, C, width);
    Moments all = gridDim.y > 1 ? over_parts(parts, s, C, width) : moments_of(x, s, C, width);
    if (s.c >= C) return;
    T var = all.squares / all.n, scale = 1 / sqrt(var + eps), factor = gamma[s.c] * scale;
    if (s.writes && blockIdx.y == 0) {
        scales[s.c] = scale;
        if (running_mean) running_mean[s.c] += momentum * (all.mean - running_mean[s.c]);
        if (running_var) running_var[s.c] += momentum * (all.squares / (all.n - 1) - running_var[s.c]);
    }
    for (int row = s.first; row < s.last; row += s.step) {
        int i = row * C + s.c;
        centred[i] = x[i] - all.mean;
        y[i] = factor * centred[i] + beta[s.c];
    }
}

// norm_grad, at first if there are several: Σ g and Σ g · centred of each part of the rows.
__global__ void norm_sums(const T* g, const T* centred, Sums* parts, int N, int C, int width) {
    Share s(N, C, width);
    Sums own = sums_of(g, centred, s, C, width);
    if (s.writes) parts[blockIdx.y * C + s.c] = own;
}

// norm_grad: dx = gamma · scale · (g - mean(g) - z · mean(g z)) with z = scale · centred.
__global__ void norm_grad(const T* __restrict__ g, const T* __restrict__ centred, const T* scales, const T* gamma,
                          const Sums* parts, T* __restrict__ dx, T* dgamma, T* dbeta, int N, int C, int width) {
    Share s(N, C, width);
    Sums all = gridDim.y > 1 ? over_parts(parts, s, C, width) : sums_of(g, centred, s, C, width);
    if (s.c >= C) return;
    T scale = scales[s.c], factor = gamma[s.c] * scale;
    T mean_g = all.g / N, mean_gz = all.products * scale / N;
    if (s.writes && blockIdx.y == 0) {
        dgamma[s.c] = all.products * scale;
        dbeta[s.c] = all.g;
    }
    for (int row = s.first; row < s.last; row += s.step) {
        int i = row * C + s.c;
        dx[i] = factor * (g[i] - mean_g - scale * centred[i] * mean_gz);
    }
}

// leaky_relu.  Not a number stays what it is, and -inf times a slope of 0 is 0.
__global__ void leaky_relu(const T* x, T* y, int n, T slope) {
    ELEMENT(n);
    y[i] = !(x[i] <= 0) ? x[i] : slope != 0 ? slope * x[i] : T(0);
}

// leaky_relu_grad.  A gradient of inf times a slope of 0 is 0.
__global__ void leaky_relu_grad(const T* x, const T* g, T* dx, int n, T slope) {
    ELEMENT(n);
    dx[i] = x[i] > 0 ? g[i] : slope != 0 ? slope * g[i] : T(0);
}

// softplus: log(1 + e ** x) without overflow.
__global__ void softplus(const T* x, T* y, int n) {
    ELEMENT(n);
    y[i] = fmax(x[i], T(0)) + log1p(exp(-fabs(x[i])));
}

// sigmoid: 1 / (1 + e ** -x) without overflow.
__global__ void sigmoid(const T* x, T* y, int n) {
    ELEMENT(n);
    y[i] = exp(fmin(x[i], T(0))) / (1 + exp(-fabs(x[i])));
}

// log_softmax: x - log Σ e ** x of row i of n, K numbers, a row lying `step` after the one before.
// With the largest number taken off, Σ e ** x is 1 and others.
__global__ void log_softmax(const T* x, T* y, int n, int K, int step) {
    ELEMENT(n);
    x += i * step;
    y += i * K;
    T top = x[0], others = -1;
    for (int k = 1; k < K; k++) top = fmax(top, x[k]);
    for (int k = 0; k < K; k++) if (x[k] - top == 0) others += 1;
    for (int k = 0; k < K; k++) if (x[k] - top != 0) others += exp(x[k] - top);
    for (int k = 0; k < K; k++) y[k] = x[k] - top - log1p(others);
}

// log_softmax_grad: g - e ** y Σ g, in an order of sums that keeps the digits of 1 - e ** y.
__global__ void log_softmax_grad(const T* y, const T* g, T* dx, int n, int K) {
    ELEMENT(n);
    T sum = 0;
    for (int at = i * K; at < (i + 1) * K; at++) sum += g[at];
    for (int at = i * K; at < (i + 1) * K; at++)
        dx[at] = -(g[at] * expm1(y[at]) + exp(y[at]) * (sum - g[at]));
}

// sum_over: Σ x / number of a whole array, by one block, in doubles.
__global__ void sum_over(const T* x, T* y, int n, T number) {
    double sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += x[i];
    sum = over_rows(sum, 1);
    if (threadIdx.x == 0) y[0] = sum / number;
}

// norm, at first: Σ g² of a block's share of a parameter, which blockIdx.y counts.
__global__ void sum_squares(Parameters all, T* sums) {
    const T* g = all.g[blockIdx.y];
    T sum = 0;
    int i = blockIdx.x * blockDim.x + threadIdx.x, n = all.size[blockIdx.y];
    for (; i < n; i += gridDim.x * blockDim.x) sum += g[i] * g[i];
    sum = over_rows(sum, 1);
    if (threadIdx.x == 0) sums[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

// norm: √ Σ of these sums.
__global__ void root_of_sum(const T* sums, T* y, int n) {
    T sum = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) sum += sums[i];
    sum = over_rows(sum, 1);
    if (threadIdx.x == 0) y[0] = sqrt(sum);
}

// adam_update.  blockIdx.y counts the parameters; a thread takes every so many-th element.
// The shares of what is new, 1 - β, come as numbers of their own: 1 - 0.999f would be off by 1e-5.
__global__ void adam_update(Parameters all, T beta1, T new1, T beta2, T new2, const T* numbers) {
    T rate = numbers[0], eps = numbers[1];
    T *theta = all.theta[blockIdx.y], *m = all.m[blockIdx.y], *v = all.v[blockIdx.y];
    const T *g = all.g[blockIdx.y];
    int i = blockIdx.x * blockDim.x + threadIdx.x, n = all.size[blockIdx.y];
    for (; i < n; i += gridDim.x * blockDim.x) {
        m[i] = beta1 * m[i] + new1 * g[i];
        v[i] = beta2 * v[i] + new2 * (g[i] * g[i]);
        theta[i] -= rate * (m[i] / (sqrt(v[i]) + eps));
    }
}

// not_finite, no primitive: flags[y] becomes 1 if array y of g has a number whose difference from itself is not 0.
__global__ void not_finite(Parameters all, T *flags) {
    const T *g = all.g[blockIdx.y];
    int i = blockIdx.x * blockDim.x + threadIdx.x, n = all.size[blockIdx.y];
    for (; i < n; i += gridDim.x * blockDim.x)
        if (g[i] - g[i] != 0) flags[blockIdx.y] = 1;
}

// warp.
__global__ void warp(const T* x, const T* maps, T* y, int n, int H, int W, int C) {
    ELEMENT(n);
    int at = i;
    int c = at % C;   at /= C;
    int col = at % W; at /= W;
    int row = at % H; at /= H;
    Place p = place(maps + 6 * at, row, col, H, W);
    T sum = 0;
    for (int dr = 0; p.inside && dr < 2; dr++)
        for (int dc = 0; dc < 2; dc++) {
            int r = p.r + dr, q = p.c + dc;
            if (r < 0 || r >= H || q < 0 || q >= W) continue;
            sum += (dr ? p.down : 1 - p.down) * (dc ? p.right : 1 - p.right)
                   * x[((at * H + r) * W + q) * C + c];
        }
    y[i] = sum;
}

// warp_grad: a pixel sums what the places less than a pixel away have taken of it.
// They are where the inverse map takes the square of 2 by 2 pixels around it.
__global__ void warp_grad(const T* g, const T* maps, T* dx, int n, int H, int W, int C) {
    ELEMENT(n);
    int at = i;
    int c = at % C; at /= C;
    int q = at % W; at /= W;
    int r = at % H; at /= H;
    const T* map = maps + 6 * at;
    T determinant = map[0] * map[4] - map[1] * map[3];
    T y = r - (H - 1) / T(2) - map[2], x = q - (W - 1) / T(2) - map[5];
    T i0 = (map[4] * y - map[1] * x) / determinant + (H - 1) / T(2);
    T j0 = (map[0] * x - map[3] * y) / determinant + (W - 1) / T(2);
    T margin = T(0.01);  // for rounding; what is outside the square has no weight
    T rows = (fabs(map[4]) + fabs(map[1])) / fabs(determinant) + margin;
    T columns = (fabs(map[0]) + fabs(map[3])) / fabs(determinant) + margin;
    // Without an inverse these are infinite or not numbers, and the whole image is searched.
    int top = int(fmin(fmax(ceil(i0 - rows), T(0)), T(H)));
    int bottom = int(fmax(fmin(floor(i0 + rows), T(H - 1)), T(-1)));
    int left = int(fmin(fmax(ceil(j0 - columns), T(0)), T(W)));
    int right = int(fmax(fmin(floor(j0 + columns), T(W - 1)), T(-1)));
    T sum = 0;
    for (int row = top; row <= bottom; row++)
        for (int col = left; col <= right; col++) {
            Place p = place(map, row, col, H, W);
            int dr = r - p.r, dc = q - p.c;
            if (!p.inside || dr < 0 || dr > 1 || dc < 0 || dc > 1) continue;
            sum += (dr ? p.down : 1 - p.down) * (dc ? p.right : 1 - p.right)
                   * g[((at * H + row) * W + col) * C + c];
        }
    dx[i] = sum;
}

}
