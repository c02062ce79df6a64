// In one pass what the formulas of engine/primitives.py do in a row of small ones.
//
// Each kernel has the name of the primitive that it is for, or says which.  T is float or double.  A thread computes
// one element i of what is written, so that nothing depends on the order in which threads run.

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

// sum_rows, centre, normalise_sums: Σ a b, or Σ a without b, of one group of rows in one channel.
__global__ void sum_products(const T* a, const T* b, T* sums, int n, int N, int C, int group) {
    ELEMENT(n);
    int first = i / C * group, last = min(first + group, N);
    T sum = 0;
    for (int at = first * C + i % C; at < last * C; at += C) sum += b ? a[at] * b[at] : a[at];
    sums[i] = sum;
}

// normalise.
__global__ void normalise(const T* centred, const T* factor, const T* beta, T* y, int n, int C) {
    ELEMENT(n);
    int c = i % C;
    y[i] = centred[i] * factor[c] + beta[c];
}

// normalise_grad.
__global__ void normalise_grad(const T* g, const T* centred, const T* factor, const T* a,
                               const T* b, T* dx, int n, int C) {
    ELEMENT(n);
    int c = i % C;
    dx[i] = (g[i] - centred[i] * b[c] - a[c]) * factor[c];
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
