# Time to connect, as the share of all trials that were connected by then: what is missing to 100 % failed. A block a
# series: its name; then ms, percent. The caller also sets: n (series), lo, hi (ms), logarithmic,
# across (columns of the key), keyrows, title.
load "common.gp"
set title title font ",13"
set xrange [lo:hi]
set yrange [0:100]
if (logarithmic) set logscale x
if (logarithmic) set xtics (1, 2, 5, 10, 20, 50, 100, 200, 500, "1 s" 1000, "2 s" 2000, "5 s" 5000, "10 s" 10000, "20 s" 20000, "60 s" 60000)
set xlabel "time to connect, ms"
set ylabel "connected, % of all trials"
set key at screen 70.0 / wd, screen (17.0 * keyrows + 6) / ht left top horizontal maxcols across maxrows keyrows Left reverse samplen 4 font ",11"
set bmargin at screen (17.0 * keyrows + 62) / ht
set tmargin at screen 1 - 36.0 / ht
plot for [i=0:n - 1] data index i using 1:2 with steps lw 2 lc rgb colour(i) dt dash(i) title columnheader(1)
