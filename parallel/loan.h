// A block of keys that one rank reads where it lies, in the memory of another.
//
// The lender offers the block (Communicator::Lend) and must leave it as it is until the transfer of
// the offer is complete, which the borrower's Return() makes it. No tensor bytes are sent: what
// travels says that the block is ready, and where, and that it has been read.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "kernels/base/view.h"
#include "parallel/observer.h"

namespace annulus::parallel {

class Communicator;

// The borrower's side. Move-only; the destructor returns the block. The communicator must outlive
// it.
class Loan {
 public:
  // What an implementation keeps of one loan.
  class Operation {
   public:
    // Never throws and never waits: a block that is still open is returned where the lender may be
    // waiting for just that.
    virtual ~Operation() = default;
    // Blocks until the block may be read, or `deadline`; throws SystemError naming rank, call and
    // peer. The address of its first element.
    virtual const void* Open(std::chrono::steady_clock::time_point deadline) = 0;
    // Tells the lender. Called once, after Open().
    virtual void Return() = 0;
  };

  Loan() = default;
  // `like`: the block's dtype and dims. `arrival` is the offer, for an observer, if any.
  Loan(Communicator* owner, std::unique_ptr<Operation> operation, const kernels::ConstView& like,
       std::optional<Hop> arrival = std::nullopt)
      : owner_(owner), operation_(std::move(operation)), block_(like), arrival_(arrival) {}
  Loan(Loan&& other) noexcept = default;
  Loan& operator=(Loan&& other) noexcept = default;
  ~Loan() = default;

  // Waits until the lender has offered the block; the wait counts as exposed communication. The
  // block, contiguous, to be read until Return(). Idempotent. Throws what Operation::Open() throws.
  kernels::ConstView Open();

  bool is_open() const { return open_; }

  // The block has been read. Requires that it is open. Idempotent.
  void Return();

 private:
  Communicator* owner_ = nullptr;
  std::unique_ptr<Operation> operation_;  // none: returned
  kernels::ConstView block_;
  std::optional<Hop> arrival_;
  bool open_ = false;
};

}  // namespace annulus::parallel
